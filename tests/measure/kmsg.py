"""The kernel's log of this machine: floods of lines, the clock and the numbers of its records."""
import os
import pathlib
import time

DEVKMSG = pathlib.Path("/proc/sys/kernel/printk_devkmsg")


class Log:
    """The open log. Lines that a program writes have facility 1: the agent counts them and looks no further."""

    # Facility 1, level 7: no console prints it.
    PRIORITY = b"<15>"

    def __enter__(self):
        self.before = DEVKMSG.read_text()
        DEVKMSG.write_text("on\n")  # else the kernel keeps ten lines in five seconds
        self.out = os.open("/dev/kmsg", os.O_WRONLY)
        self.records = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        return self

    def __exit__(self, *_):
        DEVKMSG.write_text(self.before)
        os.close(self.out)
        os.close(self.records)

    def write(self, text):
        # Without its newline a line stays invisible until the next record.
        os.write(self.out, self.PRIORITY + text.rstrip(b"\n") + b"\n")

    def mark(self):
        """Writes a line; its number, and by how much the log's clock is ahead of CLOCK_MONOTONIC, in seconds."""
        while True:
            os.lseek(self.records, 0, os.SEEK_END)
            name = f"nodewhy-measure {time.monotonic_ns()}".encode()
            written = time.monotonic()
            self.write(name)
            while time.monotonic() < written + 1:  # else a flood overtook it: once more
                record = self._read()
                if record and name in record:
                    _, number, micros, *_ = record.split(b";", 1)[0].split(b",")
                    return int(number), int(micros) / 1e6 - written

    def killed_at(self, pid, seconds):
        """The log's time of the line that says that `pid` was killed, reading on from the last mark."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            record = self._read()
            if record and f"Killed process {pid} ".encode() in record:
                return int(record.split(b",")[2]) / 1e6
            if not record:
                time.sleep(0.002)
        return None

    def _read(self):
        try:
            return os.read(self.records, 16384)
        except (BlockingIOError, BrokenPipeError):  # nothing new; or the ring overtook this reader
            return None
