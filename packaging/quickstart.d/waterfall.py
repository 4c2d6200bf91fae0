"""Draws batches as waterfalls: one line per job, time from left to right."""
import datetime
import os
import shutil
import sys

WIDTH_FALLBACK = 100
WIDTH_MAX = 130
WIDTH_BESIDE = 100  # narrower than this, batches stand one below the other
GAP = 4

# state of a job at a moment: (sign, sign in ASCII, colour)
QUEUED = ('·', '.', '2')
RUNNING = ('█', '#', '36')
WAITING = ('▒', '=', '33')
DONE = ('✓', '+', '32')
FAILED = ('✗', '!', '31')


class Painter:
    """What the terminal takes: colours on a terminal without NO_COLOR, signs where the encoding has them."""

    def __init__(self, out=sys.stdout):
        self.colour = out.isatty() and 'NO_COLOR' not in os.environ
        self.unicode = (out.encoding or '').lower().replace('-', '') == 'utf8'
        self.width = min(WIDTH_MAX, shutil.get_terminal_size((WIDTH_FALLBACK, 24)).columns)

    def paint(self, text, code):
        return f'\033[{code}m{text}\033[0m' if self.colour and text else text

    def bold(self, text):
        return self.paint(text, '1')

    def dim(self, text):
        return self.paint(text, '2')

    def sign(self, kind, n=1):
        return self.paint((kind[0] if self.unicode else kind[1]) * n, kind[2])


def instant(text):
    return datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp()


def spans(job, start):
    """What the job did, as (seconds since `start` at its end, kind), in order."""
    if not job['started_at']:
        return []
    begun, ended = instant(job['started_at']) - start, instant(job['finished_at']) - start
    result = [(begun, QUEUED)]
    events = {e['event']: instant(e['at']) - start for e in job['events']}
    if 'delivered' in events:
        result.append((events['delivered'], RUNNING))
    if 'waited' in events:
        result.append((events['waited'], WAITING))
    result.append((ended, RUNNING))
    return result


def bar(painter, job, start, scale, width):
    """The job's bar, padded to `width` cells; its end is marked."""
    text, at = '', 0
    parts = spans(job, start)
    for index, (end, kind) in enumerate(parts):
        cell = min(width - 1, round(end / scale * (width - 1)))
        if index == len(parts) - 1 and WAITING not in (kind for _, kind in parts):
            cell = max(cell, min(width - 1, at + 1))  # however short, it ran
        if cell > at:
            text += painter.sign(kind, cell - at)
            at = cell
    text += painter.sign(DONE if job['state'] == 'succeeded' else FAILED)
    return text + ' ' * (width - at - 1)


def ruler(scale, width):
    """A scale in round steps, `width` cells long."""
    step = next(s for s in (0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 30, 60) if scale / s <= 6)
    line = [' '] * width
    n = 0
    while n * step <= scale:
        label = f'{n * step:g}s'
        cell = round(n * step / scale * (width - 1))
        if cell + len(label) <= width:
            line[cell:cell + len(label)] = label
        n += 1
    return ''.join(line)


def column(painter, batch, jobs, scale, width):
    """One batch as lines of equal length."""
    names = max(len(j['name']) for j in jobs) + 2
    start = instant(batch['created_at'])
    cells = width - names
    figures = (f"elapsed {batch['elapsed_ms'] / 1000:.2f} s  work {batch['work_ms'] / 1000:.2f} s  "
               f"speedup {batch['speedup']:.1f}")
    lines = [painter.bold(f"{batch['run']:<{width}}"),
             painter.dim(' ' * names + ruler(scale, cells))]
    lines += [f"{j['name']:<{names}}" + bar(painter, j, start, scale, cells) for j in jobs]
    return lines + [painter.bold(f'{figures:<{width}}')]


def draw(painter, batches):
    """`batches`: pairs of a batch and its jobs, all with one time scale, beside each other if they fit."""
    scale = max(b['elapsed_ms'] for b, _ in batches) / 1000
    beside = painter.width >= WIDTH_BESIDE
    width = (painter.width - GAP * (len(batches) - 1)) // len(batches) if beside else painter.width
    columns = [column(painter, batch, jobs, scale, width) for batch, jobs in batches]
    if not beside:
        return '\n\n'.join('\n'.join(line.rstrip() for line in c) for c in columns)
    return '\n'.join((' ' * GAP).join(row).rstrip() for row in zip(*columns))


def legend(painter, deliveries):
    parts = [(QUEUED, 'queued'), (RUNNING, 'running')]
    if deliveries:
        parts.append((WAITING, 'waiting between delivery and collection'))
    return '  '.join(f'{painter.sign(kind)} {text}' for kind, text in parts + [(DONE, 'done')])
