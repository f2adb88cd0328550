"""The values of a run that its tasks on executors need."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WriterContext:
    """A run's lease, topics and connections; `repr` leaves out the two that contain secrets."""

    ledger_id: str
    epoch: int
    query_id: str
    topic_in: str
    topic_in_id: str
    topic_dead_letters: str
    database_url: str = field(repr=False)
    kafka_client: dict[str, str] = field(repr=False)

    @property
    def group(self) -> str:
        """The consumer group whose offsets record what was published (docs/adr/0002)."""
        return f"promo-{self.ledger_id}"
