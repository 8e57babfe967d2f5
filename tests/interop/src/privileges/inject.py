"""Makes a thread of another process do one system call, and prints what it returned.

inject.py THREAD open PATH | socket

The thread is stopped, its registers are kept, the call is made from an instruction of its own program that says
`syscall`, and everything is put back. A thread that the kernel kills for the call prints nothing.
"""
import ctypes, os, re, signal, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long] * 4
GETREGS, SETREGS, SEIZE, INTERRUPT, SINGLESTEP, DETACH = 12, 13, 0x4206, 0x4207, 9, 17
# struct user_regs_struct of x86-64, in order.
NAMES = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base "
         "ds es fs gs").split()


def ptrace(request, thread, data=0):
    if libc.ptrace(request, thread, 0, data) < 0:
        raise OSError(ctypes.get_errno(), "ptrace %d" % request)


def registers(thread):
    buffer = ctypes.create_string_buffer(8 * len(NAMES))
    ptrace(GETREGS, thread, ctypes.addressof(buffer))
    return dict(zip(NAMES, struct.unpack("<%dQ" % len(NAMES), buffer.raw)))


def set_registers(thread, values):
    buffer = ctypes.create_string_buffer(struct.pack("<%dQ" % len(NAMES), *(values[name] for name in NAMES)))
    ptrace(SETREGS, thread, ctypes.addressof(buffer))


def wait(thread):
    _, status = os.waitpid(thread, 0x40000000)
    if os.WIFSIGNALED(status) or os.WIFEXITED(status):
        sys.exit(0)


def syscall_instruction(thread, memory):
    """An address in the program's code that holds `syscall`."""
    for line in open("/proc/%d/maps" % thread):
        span, access = line.split()[:2]
        if access != "r-xp" or "[v" in line:
            continue
        start, end = (int(part, 16) for part in span.split("-"))
        memory.seek(start)
        found = memory.read(min(end - start, 16 << 20)).find(b"\x0f\x05")
        if found >= 0:
            return start + found
    sys.exit("no syscall instruction")


thread, call = int(sys.argv[1]), sys.argv[2]
ptrace(SEIZE, thread)
ptrace(INTERRUPT, thread)
wait(thread)
with open("/proc/%d/mem" % thread, "r+b", buffering=0) as memory:
    before = registers(thread)
    place = (before["rsp"] - 8192) & ~15
    changed = dict(before, rip=syscall_instruction(thread, memory), orig_rax=2**64 - 1)
    if call == "open":
        memory.seek(place)
        memory.write(sys.argv[3].encode() + b"\0")
        changed.update(rax=257, rdi=2**64 - 100, rsi=place, rdx=0o2000000, r10=0)
    else:
        changed.update(rax=41, rdi=2, rsi=1, rdx=0)
    set_registers(thread, changed)
    ptrace(SINGLESTEP, thread)
    wait(thread)
    result = struct.unpack("<q", struct.pack("<Q", registers(thread)["rax"]))[0]
    set_registers(thread, before)
ptrace(DETACH, thread)
print(result)
