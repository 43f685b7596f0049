"""Run by every Python that a test starts: lets the tests' server run the command, where it can.

Imported before the interpreter has its arguments, and in every process: only what takes no time.
"""

import os
import sys

from warm_settings import settings


def is_a_command(arguments):
    """``python -m MODULE``, ``python -c CODE`` or ``python FILE``, without further options."""
    return bool(arguments) and (arguments[0] in ("-m", "-c") or arguments[0][:1] not in ("-", ""))


def is_to_be_this_process(arguments):
    """Whether a fork would take longer, have other signals, or become another program.

    Code that names nothing of what the server has loaded takes less time by itself than as a fork;
    what a process that multiprocessing spawns needs it does not say.
    A signal to the group of processes reaches what this process starts, and nothing of a fork's.
    One that says "[-- COMMAND]" turns into a command that it is given. A missing file is for the
    interpreter to name.
    """
    kind, text = arguments[:2] if len(arguments) > 1 else (arguments[0], "")
    if kind not in ("-m", "-c"):
        file = kind
        if os.path.basename(kind) == "run_module.py" and text:  # it becomes what the module does
            root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(kind))))
            file = os.path.join(root, *text.split(".")) + ".py"
        try:
            with open(file, encoding="utf-8", errors="replace") as code:
                text = code.read()
        except OSError:
            return True
    loaded = ("torch", "fairseq", "multiprocessing.spawn")
    if kind == "-c" and not any(name in text for name in loaded):
        return True
    if "subprocess.Popen" in text and "signal.signal" in text:
        return True
    return "os.exec" in text and ("--" in arguments or "[-- COMMAND]" not in text)


def keeps_locks():
    """Whether this process has locks of files, from before an exec, and is to be killed.

    They are its own alone. While it waits for a fork it keeps them, and the plugin lets train what
    their holder has started; but where it is killed, they are gone before the fork is.
    """
    if "LRDROP_TEST_KILLS" not in os.environ:
        return False
    own = f" {os.getpid()} "
    with open("/proc/locks") as locks:
        return any(own in line for line in locks)


def hand_over(path, arguments):
    """Has the command run by the server; returns only if the server's settings are other ones."""
    import json
    import signal
    import socket

    files = []
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:  # the listing's own
            continue
        files.append(int(name))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    command = {
        "arguments": arguments,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "settings": settings(os.environ),
        "files": files,
        "ignored": [n for n in (1, 2, 13, 15) if signal.getsignal(n) is signal.SIG_IGN],
    }
    text = json.dumps(command).encode()
    socket.send_fds(connection, [len(text).to_bytes(8, "big")], files)
    connection.sendall(text)
    if connection.recv(1) != b"y":
        return

    def forward(number, frame):
        connection.send(bytes([number]))

    # Also what this process ignores: the command may have come to another decision.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, forward)
    answer = b""
    while len(answer) < 2:
        received = connection.recv(2 - len(answer))
        if not received:
            sys.stderr.write("the tests' server is gone\n")
            os._exit(70)
        answer += received
    kind, number = answer
    if kind:
        if number != signal.SIGKILL:  # which has no handler
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(number)


def main():
    server, arguments = os.environ.get("LRDROP_TEST_SERVER"), sys.orig_argv[1:]
    if arguments[:1] == ["-B"] and os.environ.get("PYTHONDONTWRITEBYTECODE"):
        del arguments[0]  # says what the variable does; multiprocessing gives it to its processes
    ours = not is_a_command(arguments) or is_to_be_this_process(arguments) or keeps_locks()
    if server and not ours:
        hand_over(server, arguments)


main()
