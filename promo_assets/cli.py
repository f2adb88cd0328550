"""The command `promo-assets`: its arguments, its help, its exit status. What a command does, stands in `commands/`.

Nothing heavy is imported before a command runs: help must not wait for Spark.
"""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from promo_assets.commands import talk

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
def root(debug: Annotated[bool, typer.Option("--debug", help="Show the stack trace of an error.")] = False) -> None:
    pass  # main() looks for --debug itself: it must know of it also where the arguments are wrong


@app.command()
def demo(
    exit: Annotated[bool, typer.Option("--exit", help="End when all that was promised has been seen, instead of at Ctrl-C.")] = False,
) -> None:
    """Show it all: start Kafka, Postgres and Dagster with the stream, send campaigns, count what comes out of both sinks.

    Exit status 0 when the counts are right, 1 when they are not. Dagster and the stream end with the demo; Kafka and
    Postgres stay up, and so does what was written.
    """
    from promo_assets.commands.demo import run_demo

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
def status() -> None:
    """Print where Kafka and Postgres are; exit status 1 if one of the local ones does not run.

    Outside services (named by a setting) are printed as they are set, without the password, and are not asked.
    """
    from promo_assets.commands.services import print_status

    print_status()


@stream.command("run")
def stream_run(
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when all that lies in the input topic now is handled in both sinks.")
    ] = False,
) -> None:
    """Run the stream in the foreground until Ctrl-C; what it does is told on standard error."""
    from promo_assets.commands.stream import run_stream_here

    run_stream_here(until_caught_up)


@campaigns.command("send")
def campaigns_send(
    file: Annotated[
        Path | None, typer.Argument(help="JSON lines, one campaign each; without it, standard input.", show_default=False)
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Send each line as it is, unchecked and without a key.")] = False,
) -> None:
    """Send campaigns to the input topic: all of them, or none where one is wrong. The key is the restaurant_id.

    Blank lines are skipped (with --raw they are sent, as empty messages).
    """
    from promo_assets.commands.campaigns import send_campaigns

    send_campaigns(file, raw)


@notifications.command("watch")
def notifications_watch(
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many.", show_default=False)] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0, help="End after so many seconds; with --count not reached, status 1.", show_default=False),
    ] = None,
) -> None:
    """Print the notifications of finished transactions, one JSON a line, from the topic's beginning on."""
    from promo_assets.commands.notifications import watch_notifications

    watch_notifications(count, timeout)


@dead_letters.command("list")
def dead_letters_list(as_json: Annotated[bool, typer.Option("--json", help="JSON lines, also on a terminal.")] = False) -> None:
    """List all dead letters: a table on a terminal, else JSON lines.

    A dead letter's id is its partition and offset in the dead-letter topic. In JSON lines a key or value that is no
    UTF-8 text stands as key_base64 or value_base64.
    """
    from promo_assets.commands.dead_letters import list_dead_letters

    list_dead_letters(as_json)


@dead_letters.command("replay")
def dead_letters_replay(
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="Only this one, even if it was sent before; can be repeated.", show_default=False)
    ] = None,
) -> None:
    """Send dead letters to the input topic again, key and value as they came: without --id, all not sent again before.

    What is still wrong comes back as a new dead letter.
    """
    from promo_assets.commands.replay import replay_dead_letters

    replay_dead_letters(ids or [])


@ledger.command("apply")
def ledger_apply(
    grant_to: Annotated[
        str | None,
        typer.Option("--grant-to", metavar="ROLE", help="Give this role what the stream needs, and no more.", show_default=False),
    ] = None,
) -> None:
    """Make the tables that are missing, as the owner that PROMO_POSTGRES_URL names; what is there, is kept.

    The stream can then run as ROLE, which owns nothing: see docs/security.md.
    """
    from promo_assets.commands.grants import apply_ledger

    apply_ledger(grant_to)


@lake.command("sample")
def lake_sample(
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="How many days.")] = 28,
    events_per_day: Annotated[int, typer.Option("--events-per-day", min=1, max=100_000_000, help="How many events each.")] = 100_000,
    last_day: Annotated[
        str | None, typer.Option("--last-day", metavar="YYYY-MM-DD", help="The last of the days.", show_default="yesterday, UTC")
    ] = None,
    users: Annotated[int, typer.Option("--users", min=1, max=5_000_000, help="How many people there are.")] = 20_000,
    channels: Annotated[int, typer.Option("--channels", min=1, max=1_000_000, help="How many channels; the first are popular.")] = 2_000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another number makes other people and other events.")] = 1,
) -> None:
    """Write made-up RAW events into the lake at PROMO_LAKE_ROOT: the same numbers make the same days.

    A day of an earlier sample is replaced; where a day holds anything else, nothing is written. Some events are broken,
    as in life: 1 in 200.
    """
    from promo_assets.commands.lake import write_sample
    from promo_assets.local.lake_sample import Sample

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
        return talk.DONE
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return talk.INTERRUPTED
    except BrokenPipeError:
        talk.silence_closed_pipe()
        return talk.DONE  # the reader has what it wanted
    except Exception as error:
        if "--debug" in sys.argv:
            traceback.print_exc(file=talk.listener())
        return _tell(error)


def _tell(error: Exception) -> int:
    if isinstance(error, typer.TyperException):  # wrong arguments; none at all have no message: help was printed
        context = getattr(error, "ctx", None)
        if error.format_message():
            command = context.command_path if context else "promo-assets"
            talk.say(f"promo-assets: {error.format_message().rstrip('.')}. See: {command} --help")
        return talk.MISUSED
    from promo_assets.settings import SettingsError

    talk.say(f"promo-assets: {talk.first_line(error)}")
    return talk.MISUSED if isinstance(error, (talk.UserError, SettingsError)) else talk.FAILED
