"""The command `promo-assets`: its arguments, its help, its exit status.

What a command does is in the module of `commands/` that is named like it. A module is imported only
when its command runs: help must not wait for Spark.
"""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from promo_assets.commands import console

app = typer.Typer(
    name="promo-assets",
    help=(
        "Send restaurants' promo campaigns to the clients who favourited them: the stream, "
        "its local services, what goes in and what comes out; and the lake of the "
        "messenger's events."
    ),
    epilog=(
        "Exit status: 0 success, 2 your mistake (explained in one line), 1 any other failure. "
        "Data goes to standard output, everything else to standard error."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
stream = typer.Typer(no_args_is_help=True, help="Run the stream without Dagster.")
campaigns = typer.Typer(no_args_is_help=True, help="Send, list and cancel campaigns.")
notifications = typer.Typer(no_args_is_help=True, help="Read the notifications.")
dead_letters = typer.Typer(
    no_args_is_help=True, help="List rejected messages, and send them again."
)
ledger = typer.Typer(
    no_args_is_help=True, help="Create, upgrade and clean the stream's tables in Postgres."
)
lake = typer.Typer(no_args_is_help=True, help="Write sample data into the lake.")
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON lines on a terminal, too.")]

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
    pass  # _run() looks for --debug itself, so that it also works where the arguments are wrong


@app.command()
def demo(
    exit: Annotated[
        bool,
        typer.Option("--exit", help="End when everything has been shown, not at Ctrl-C."),
    ] = False,
) -> None:
    """Show everything on local services: the stream, the lake and what clients answer.

    Starts Kafka, Postgres and Dagster, sends campaigns, counts what comes out of
    both sinks, and loads a made-up lake. Exit status 0 if the counts are right, 1
    if they are not. Dagster and the stream end with the demo; Kafka and Postgres
    keep running, and what was written stays.
    """
    from promo_assets.commands.demo.demo import run_demo

    run_demo(stay=not exit)


@app.command()
def up() -> None:
    """Start a local Kafka and Postgres in the background, and print their addresses.

    Creates the topics and tables. A service that is already running is left as it
    is. If PROMO_KAFKA_BOOTSTRAP_SERVERS or PROMO_POSTGRES_URL is set, no local
    service is started in its place: the topics or tables are created there.
    """
    from promo_assets.commands.up import start_services

    start_services()


@app.command()
def down() -> None:
    """Stop the local Kafka and Postgres; their data stay. Does nothing if they are not running."""
    from promo_assets.commands.down import stop_services

    stop_services()


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Repeat every two seconds until Ctrl-C.")
    ] = False,
) -> None:
    """Print the addresses of Kafka and Postgres, and the state of the stream.

    The state is who runs the stream, how far it is behind, and what waits. Exit
    status 1 if a local service is not running. Services that a setting names are
    printed as they are set, without the password; one that does not answer is
    reported.
    """
    from promo_assets.commands.status import print_status

    print_status(as_json, watch)


@app.command("spark-archive")
def spark_archive(
    file: Annotated[Path, typer.Argument(help="The archive to write, named *.tar.gz or *.tgz.")],
) -> None:
    """Pack what Spark's executors import, for a cluster whose nodes lack this project's image.

    The archive holds this project and the packages that its tasks need, as they
    are installed here, so it fits nodes of this machine's kind. Name it with
    PROMO_SPARK_ARCHIVE.
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
    """Run a program of Dagster (dagster, dg, dagster-webserver, …) on the project's instance.

    Runs, events and schedules are kept in Postgres, so that all programs see the
    same. The exit status is the program's.
    """
    from promo_assets.commands.with_dagster import run_with_dagster

    run_with_dagster(command)


@stream.command("run")
def stream_run(
    until_caught_up: Annotated[
        bool,
        typer.Option(
            "--until-caught-up",
            help="End when both sinks have all that is in the input topic now.",
        ),
    ] = False,
) -> None:
    """Run the stream in the foreground until Ctrl-C, and report progress on standard error."""
    from promo_assets.commands.stream_run import run_stream_command

    run_stream_command(until_caught_up)


@stream.command("reprocess")
def stream_reprocess(
    from_time: Annotated[
        str | None,
        typer.Option(
            "--from-time",
            metavar="TIME",
            help="Read what Kafka received since, such as 2026-01-31T12:00:00Z; UTC.",
            show_default=False,
        ),
    ] = None,
    from_offset: Annotated[
        list[str] | None,
        typer.Option(
            "--from-offset",
            metavar="PARTITION:OFFSET",
            help="Read from there; one option for each partition.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Read the input topic again, up to its present end, and send what was missed.

    What was already sent notifies nobody again. Stop the stream first: only one
    run may write. Its checkpoint stays as it is. After an interruption, run the
    command again.
    """
    from promo_assets.commands.stream_reprocess import reprocess_stream

    reprocess_stream(from_time, from_offset or [])


@campaigns.command("send")
def campaigns_send(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="JSON lines, one campaign per line; without it, standard input.",
            show_default=False,
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Send each line as it is, without a check or a key.")
    ] = False,
) -> None:
    """Send campaigns to the input topic, all of them or, if one is invalid, none.

    The key is the restaurant_id. Blank lines are skipped (with --raw they are
    sent, as empty messages).
    """
    from promo_assets.commands.campaigns_send import send_campaigns

    send_campaigns(file, raw)


@campaigns.command("waiting")
def campaigns_waiting(
    as_json: JsonLines = False,
) -> None:
    """List the campaigns that wait for their start: a table on a terminal, else JSON lines.

    Times are unix seconds in JSON lines.
    """
    from promo_assets.commands.campaigns_waiting import list_waiting_campaigns

    list_waiting_campaigns(as_json)


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
    """Cancel a campaign that waits for its start, so that nobody is notified of it.

    A repeat of it is still ignored. A campaign that is being sent, was sent or is
    unknown cannot be cancelled: exit status 2.
    """
    from promo_assets.commands.campaigns_cancel import cancel_campaign

    cancel_campaign(restaurant_id, campaign_id, datetime_created)


@notifications.command("watch")
def notifications_watch(
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, help="End after so many notifications.", show_default=False),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=0,
            help="End after so many seconds, with status 1 if --count was not reached.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the notifications of committed transactions, one JSON object per line.

    They are printed from the topic's beginning on.
    """
    from promo_assets.commands.notifications_watch import watch_notifications

    watch_notifications(count, timeout)


@app.command()
def push(
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", min=0.1, help="Push at most so many per second.", show_default=False
        ),
    ] = None,
    feedback_share: Annotated[
        float,
        typer.Option("--feedback-share", min=0, max=1, help="Share of the clients that answer."),
    ] = 0.2,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End after what is in the topic now.")
    ] = False,
) -> None:
    """Stand in for the push service: pretend to push notifications, and write clients' feedback.

    The feedback goes to Postgres. The consumer group promo-assets-push keeps the
    offsets; several can run at once.
    """
    from promo_assets.commands.push import run_push

    run_push(rate, feedback_share, until_caught_up)


@dead_letters.command("list")
def dead_letters_list(
    as_json: JsonLines = False,
) -> None:
    """List all dead letters: a table on a terminal, else JSON lines.

    A dead letter's id is its partition and offset in the dead-letter topic. In
    JSON lines, a key or value that is not UTF-8 text is called key_base64 or
    value_base64.
    """
    from promo_assets.commands.dead_letters_list import list_dead_letters

    list_dead_letters(as_json)


@dead_letters.command("replay")
def dead_letters_replay(
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--id",
            help="Send only this one, even if it was sent before; can be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send dead letters to the input topic again, with their original key and value.

    Without --id, all that were not sent again before. What is still invalid
    becomes a new dead letter.
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
            help="Grant this role the rights that the stream needs, and no more.",
            show_default=False,
        ),
    ] = None,
    feedback_reader: Annotated[
        str | None,
        typer.Option(
            "--feedback-reader",
            metavar="ROLE",
            help="Let this role, the lake's, read the feedback.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Create the stream's tables, or upgrade an older ledger in place. All rows are kept.

    Run it as the owner, whom PROMO_POSTGRES_URL names. Stream and lake can then
    run as roles that own nothing: see docs/security.md. Prints the ledger's id,
    which is in the stream's names for Kafka: promo-<id>.
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
            help="How many days ago it ended.",
            show_default="PROMO_RETENTION_DAYS",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report what would be deleted.")
    ] = False,
    as_json: JsonLines = False,
) -> None:
    """Delete from the ledger what ended: campaigns' texts, old batches and dispatches.

    The stream may keep running. A campaign's key is kept forever, so that a
    repeat of it still notifies nobody. Notifications and their rows are not
    touched.
    """
    from promo_assets.commands.ledger_clean import run_ledger_clean

    run_ledger_clean(older_than, dry_run, as_json)


@lake.command("sample")
def lake_sample(
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="Number of days.")] = 28,
    events_per_day: Annotated[
        int, typer.Option("--events-per-day", min=1, max=100_000_000, help="Events per day.")
    ] = 100_000,
    last_day: Annotated[
        str | None,
        typer.Option(
            "--last-day",
            metavar="YYYY-MM-DD",
            help="The last day.",
            show_default="yesterday, UTC",
        ),
    ] = None,
    users: Annotated[
        int, typer.Option("--users", min=1, max=5_000_000, help="Number of people.")
    ] = 20_000,
    channels: Annotated[
        int,
        typer.Option(
            "--channels", min=1, max=1_000_000, help="Number of channels; the first are popular."
        ),
    ] = 2_000,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, help="Another number makes other people and events."),
    ] = 1,
) -> None:
    """Write made-up RAW events into the lake at PROMO_LAKE_ROOT.

    The same numbers make the same days. A day of an earlier sample is replaced;
    if a day holds anything else, nothing is written. 1 in 200 events is broken,
    as in real data.
    """
    from promo_assets.commands.lake_sample import write_sample
    from promo_assets.local.sample.days import Sample

    write_sample(Sample(events_per_day, users, channels, seed), days, last_day)


def main() -> None:
    """Run the command and exit: a failure is one line on standard error and an exit status."""
    sys.exit(_run())


def _run() -> int:
    try:
        # This is what `app()` does, without its handling of errors, closed pipes and Ctrl-C.
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
        return console.DONE  # the reader has got what it wanted
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc(file=console.stderr())
        return _report_error(error)


def _report_error(error: Exception) -> int:
    """Write the error to standard error, and return the exit status."""
    if isinstance(error, typer.TyperException):  # wrong arguments
        context = getattr(error, "ctx", None)
        # Without any arguments there is no message, as help was printed.
        if message := error.format_message():
            command = context.command_path if context else "promo-assets"
            console.info(f"promo-assets: {message.rstrip('.')}. See: {command} --help")
        return console.MISUSED
    from promo_assets.settings import SettingsError

    console.info(f"promo-assets: {console.describe_error(error)}")
    is_mistake = isinstance(error, (console.UserError, SettingsError))
    return console.MISUSED if is_mistake else console.FAILED
