//! The I/O priority of a thread: one that nobody waits for reads when nobody else does.
#![expect(unsafe_code, reason = "ioprio_set(2) has no safe form")]

/// `IOPRIO_WHO_PROCESS` of `linux/ioprio.h`; with 0, the calling thread.
const WHO_THREAD: libc::c_int = 1;
/// `IOPRIO_CLASS_SHIFT` there, and the classes.
const CLASS_SHIFT: libc::c_int = 13;
const CLASS_NONE: libc::c_int = 0;
const CLASS_IDLE: libc::c_int = 3;

/// Puts the calling thread into the idle class, or out of it. Best effort: some schedulers know no classes.
pub(super) fn idle(yes: bool) {
    let priority = if yes { CLASS_IDLE } else { CLASS_NONE } << CLASS_SHIFT;
    // SAFETY: three integers go to the kernel, no memory; the call changes the priority of this thread and nothing else.
    let done = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_THREAD, 0, priority) };
    if done != 0 {
        tracing::debug!("the I/O priority of the scrub could not be set");
    }
}
