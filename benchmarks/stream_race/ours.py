"""The contestant *ours*: the project's own stream."""

from promo_assets.jvm.session import open_session
from promo_assets.settings import Settings
from promo_assets.stream.pipeline.run import StreamRun
from stream_race.process import print_delivered


def run_ours(settings: Settings) -> None:
    stream_run = StreamRun(settings, lambda: open_session(settings, "bench"), "bench")
    stream_run.start()
    printed = 0
    while not stream_run.ended.wait(0.01):
        if (pairs := stream_run.metrics.notifications) != printed:
            printed = pairs
            print_delivered(pairs)
    raise SystemExit(str(stream_run.error))
