"""What an executor must know of the run that it works for."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class WriterContext:
    """The run's lease, its topics and how to connect. It holds secrets, so `repr` leaves them out."""

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
        """The consumer group whose offsets record what was published (ADR 2)."""
        return f"promo-{self.ledger_id}"
