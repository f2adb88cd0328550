"""The command `promo-assets`: its arguments, its help, its exit status. What a command does, stands in `commands/`.

Nothing heavy is imported before a command runs: help must not wait for Spark.
"""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from promo_assets.commands import console

app = typer.Typer(
    name="promo-assets",
    help="Restaurant promos to the clients who favourited them: the stream, its local services, and what goes in and out.",
    epilog="Exit status: 0 done, 2 your mistake (told in one line), 1 anything else. Data goes to standard output, talk to standard error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
stream = typer.Typer(no_args_is_help=True, help="The stream without Dagster.")
campaigns = typer.Typer(no_args_is_help=True, help="What restaurants publish.")
notifications = typer.Typer(no_args_is_help=True, help="What clients get.")
dead_letters = typer.Typer(no_args_is_help=True, help="What was no campaign.")
ledger = typer.Typer(no_args_is_help=True, help="The stream's bookkeeping in Postgres.")
lake = typer.Typer(no_args_is_help=True, help="The lake of the messenger's events.")
app.add_typer(stream, name="stream")
app.add_typer(campaigns, name="campaigns")
app.add_typer(notifications, name="notifications")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(ledger, name="ledger")
app.add_typer(lake, name="lake")


@app.callback()
def root(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the stack trace of an error.")
    ] = False,
) -> None:
    pass  # main() looks for --debug itself: it must know of it also where the arguments are wrong


@app.command()
def demo(
    exit: Annotated[
        bool,
        typer.Option(
            "--exit", help="End when all that was promised has been seen, instead of at Ctrl-C."
        ),
    ] = False,
) -> None:
    """Show it all: start Kafka, Postgres and Dagster with the stream, send campaigns, count what comes out of both sinks.

    Exit status 0 when the counts are right, 1 when they are not. Dagster and the stream end with the demo; Kafka and
    Postgres stay up, and so does what was written.
    """
    from promo_assets.commands.demo.demo import run_demo

    run_demo(stay=not exit)


@app.command()
def up() -> None:
    """Start a local Kafka and Postgres in the background, with topics and tables; print where they are.

    What runs already is left as it is. Where PROMO_KAFKA_BOOTSTRAP_SERVERS or PROMO_POSTGRES_URL is set, nothing is
    started in its place: its topics or tables are made there.
    """
    from promo_assets.commands.services import start_services

    start_services()


@app.command()
def down() -> None:
    """Stop the local Kafka and Postgres; their data stay. Does nothing where they do not run."""
    from promo_assets.commands.services import stop_services

    stop_services()


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="All of it as one JSON object.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")
    ] = False,
) -> None:
    """Print where Kafka and Postgres are, and tell how the stream stands: who runs it, how far it is behind, what waits.

    Exit status 1 if one of the local services does not run. Outside services (named by a setting) are printed as they are
    set, without the password; one that gives no answer is told.
    """
    from promo_assets.commands.services import print_status

    print_status(as_json, watch)


@app.command("spark-archive")
def spark_archive(
    file: Annotated[Path, typer.Argument(help="The archive to write, named .tar.gz.")],
) -> None:
    """Pack what Spark's executors import, for a cluster whose nodes have no image of ours; PROMO_SPARK_ARCHIVE names it then.

    It holds this project and the packages its tasks need, as they are installed here, and fits nodes of this machine's kind.
    """
    from promo_assets.commands.spark_archive import write_archive

    write_archive(file)


@app.command(
    "with-dagster",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def with_dagster(
    command: Annotated[
        list[str],
        typer.Argument(help="A program and its arguments, such as: dagster dev -w workspace.yaml"),
    ],
) -> None:
    """Run one of Dagster's programs (dagster, dg, dagster-webserver, …) on the project's Dagster instance.

    Its runs, events and schedules are kept in Postgres, so that all programs run this way see the same. The exit status is the program's.
    """
    from promo_assets.commands.with_dagster import run_with_dagster

    run_with_dagster(command)


@stream.command("run")
def stream_run(
    until_caught_up: Annotated[
        bool,
        typer.Option(
            "--until-caught-up",
            help="End when all that lies in the input topic now is handled in both sinks.",
        ),
    ] = False,
) -> None:
    """Run the stream in the foreground until Ctrl-C; what it does is told on standard error."""
    from promo_assets.commands.stream_run import run_stream_command

    run_stream_command(until_caught_up)


@stream.command("reprocess")
def stream_reprocess(
    from_time: Annotated[
        str | None,
        typer.Option(
            "--from-time",
            metavar="TIME",
            help="Messages that Kafka got since, like 2026-01-31T12:00:00Z; UTC.",
            show_default=False,
        ),
    ] = None,
    from_offset: Annotated[
        list[str] | None,
        typer.Option(
            "--from-offset",
            metavar="PARTITION:OFFSET",
            help="From there on; one for each partition.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Read the input topic again, to its present end; what was sent already notifies nobody, what was missed is made up for.

    The stream must be stopped meanwhile: only one may write. Its checkpoint stays as it is. Interrupted, it can be run again.
    """
    from promo_assets.commands.stream_reprocess import reprocess

    reprocess(from_time, from_offset or [])


@campaigns.command("send")
def campaigns_send(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="JSON lines, one campaign each; without it, standard input.", show_default=False
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Send each line as it is, unchecked and without a key.")
    ] = False,
) -> None:
    """Send campaigns to the input topic: all of them, or none where one is wrong. The key is the restaurant_id.

    Blank lines are skipped (with --raw they are sent, as empty messages).
    """
    from promo_assets.commands.campaigns_send import send_campaigns

    send_campaigns(file, raw)


@campaigns.command("waiting")
def campaigns_waiting(
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines, also on a terminal.")
    ] = False,
) -> None:
    """List the campaigns that wait for their start: a table on a terminal, else JSON lines. Times are unix seconds there."""
    from promo_assets.commands.campaigns_waiting import list_waiting

    list_waiting(as_json)


@campaigns.command("cancel")
def campaigns_cancel(
    restaurant_id: Annotated[str, typer.Argument(metavar="RESTAURANT_ID", show_default=False)],
    campaign_id: Annotated[
        str, typer.Argument(metavar="CAMPAIGN_ID", help="Its adv_campaign_id.", show_default=False)
    ],
    datetime_created: Annotated[
        int,
        typer.Argument(
            metavar="DATETIME_CREATED", help="Unix seconds, as in its message.", show_default=False
        ),
    ],
) -> None:
    """Cancel a campaign that waits for its start: nobody is notified of it, and a repeat of it stays ignored.

    One that is being sent, was sent or is unknown cannot be cancelled: exit status 2.
    """
    from promo_assets.commands.campaigns_waiting import cancel

    cancel(restaurant_id, campaign_id, datetime_created)


@notifications.command("watch")
def notifications_watch(
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="End after so many.", show_default=False)
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=0,
            help="End after so many seconds; with --count not reached, status 1.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the notifications of finished transactions, one JSON a line, from the topic's beginning on."""
    from promo_assets.commands.notifications_watch import watch_notifications

    watch_notifications(count, timeout)


@app.command()
def push(
    rate: Annotated[
        float | None,
        typer.Option("--rate", min=0.1, help="At most so many a second.", show_default=False),
    ] = None,
    feedback_share: Annotated[
        float,
        typer.Option("--feedback-share", min=0, max=1, help="How many of the clients answer."),
    ] = 0.2,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End behind what lies in the topic now.")
    ] = False,
) -> None:
    """Stand in for the push service: read the notifications, pretend to push them, write some clients' feedback into Postgres.

    Its place in the topic is kept in the consumer group promo-assets-push. Several can run side by side.
    """
    from promo_assets.commands.push import push

    push(rate, feedback_share, until_caught_up)


@dead_letters.command("list")
def dead_letters_list(
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines, also on a terminal.")
    ] = False,
) -> None:
    """List all dead letters: a table on a terminal, else JSON lines.

    A dead letter's id is its partition and offset in the dead-letter topic. In JSON lines a key or value that is no
    UTF-8 text stands as key_base64 or value_base64.
    """
    from promo_assets.commands.dead_letters_list import list_dead_letters

    list_dead_letters(as_json)


@dead_letters.command("replay")
def dead_letters_replay(
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--id",
            help="Only this one, even if it was sent before; can be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send dead letters to the input topic again, key and value as they came: without --id, all not sent again before.

    What is still wrong comes back as a new dead letter.
    """
    from promo_assets.commands.dead_letters_replay import replay_dead_letters

    replay_dead_letters(ids or [])


@ledger.command("apply")
def ledger_apply(
    grant_to: Annotated[
        str | None,
        typer.Option(
            "--grant-to",
            metavar="ROLE",
            help="Give this role what the stream needs, and no more.",
            show_default=False,
        ),
    ] = None,
    feedback_reader: Annotated[
        str | None,
        typer.Option(
            "--feedback-reader",
            metavar="ROLE",
            help="Let this role, the lake's, read feedback.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the stream's tables, or upgrade an older ledger in place, as the owner that PROMO_POSTGRES_URL names. All rows are kept.

    Stream and lake can then run as roles that own nothing: see docs/security.md. On standard output stands the ledger's id,
    by which the stream names itself to Kafka: promo-<id>.
    """
    from promo_assets.commands.ledger_apply import apply_ledger

    apply_ledger(grant_to, feedback_reader)


@ledger.command("clean")
def ledger_clean(
    older_than: Annotated[
        int | None,
        typer.Option(
            "--older-than",
            metavar="DAYS",
            min=1,
            max=36_500,
            help="How long ago it was over.",
            show_default="PROMO_RETENTION_DAYS",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines, also on a terminal.")
    ] = False,
) -> None:
    """Take out of the ledger what is over: the texts of ended campaigns, old batches and dispatches. The stream may run meanwhile.

    A campaign's key stays for good, so that a repeat of it still notifies nobody. Notifications and their rows are not touched.
    """
    from promo_assets.commands.ledger_clean import clean

    clean(older_than, dry_run, as_json)


@lake.command("sample")
def lake_sample(
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="How many days.")] = 28,
    events_per_day: Annotated[
        int, typer.Option("--events-per-day", min=1, max=100_000_000, help="How many events each.")
    ] = 100_000,
    last_day: Annotated[
        str | None,
        typer.Option(
            "--last-day",
            metavar="YYYY-MM-DD",
            help="The last of the days.",
            show_default="yesterday, UTC",
        ),
    ] = None,
    users: Annotated[
        int, typer.Option("--users", min=1, max=5_000_000, help="How many people there are.")
    ] = 20_000,
    channels: Annotated[
        int,
        typer.Option(
            "--channels", min=1, max=1_000_000, help="How many channels; the first are popular."
        ),
    ] = 2_000,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, help="Another number makes other people and other events."),
    ] = 1,
) -> None:
    """Write made-up RAW events into the lake at PROMO_LAKE_ROOT: the same numbers make the same days.

    A day of an earlier sample is replaced; where a day holds anything else, nothing is written. Some events are broken,
    as in life: 1 in 200.
    """
    from promo_assets.commands.lake_sample import write_sample
    from promo_assets.local.sample.days import Sample

    write_sample(Sample(events_per_day, users, channels, seed), days, last_day)


def main() -> None:
    """The command's entry: whatever happens ends in one line and an exit status."""
    sys.exit(_run())


def _run() -> int:
    try:
        # As `app()` does it, but for its own idea of how errors, closed pipes and Ctrl-C end.
        command = typer.main.get_command(app)
        with command.make_context("promo-assets", sys.argv[1:]) as context:
            command.invoke(context)
        sys.stdout.flush()
        return console.DONE
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return console.INTERRUPTED
    except BrokenPipeError:
        console.silence_closed_pipe()
        return console.DONE  # the reader has what it wanted
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc(file=console.stderr())
        return _tell(error)


def _tell(error: Exception) -> int:
    if isinstance(
        error, typer.TyperException
    ):  # wrong arguments; none at all have no message: help was printed
        context = getattr(error, "ctx", None)
        if error.format_message():
            command = context.command_path if context else "promo-assets"
            console.info(
                f"promo-assets: {error.format_message().rstrip('.')}. See: {command} --help"
            )
        return console.MISUSED
    from promo_assets.settings import SettingsError

    console.info(f"promo-assets: {console.first_line(error)}")
    return (
        console.MISUSED if isinstance(error, (console.UserError, SettingsError)) else console.FAILED
    )
