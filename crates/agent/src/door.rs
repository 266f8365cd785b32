//! The exported names: each leads to the function of its name in `export/`, by way of [`begin`](crate::start::begin) the first time.
//!
//! A door changes no register that a caller passes an argument in, and leaves nothing on the stack: the function behind it finds everything
//! as if it had been called itself.

macro_rules! doors {
    ($($file:ident: $($name:ident)*;)*) => {$($(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            ring3_os::door_body!(crate::export::$file::$name, crate::start::READY, first)
        }
    )*)*};
}

/// The same for functions that find a function by its name: with a pseudo-handle they are the program's own, and see the caller's return
/// address.
macro_rules! lookups {
    ($($name:ident => $real:ident;)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            ring3_os::lookup_door_body!(
                crate::export::names::$name, crate::libc::$real, crate::start::READY, first
            )
        }
    )*};
}

macro_rules! vforks {
    ($($name:ident)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name() {
            ring3_os::vfork_body!(
                crate::start::READY,
                first,
                crate::export::fork::before_vfork,
                crate::export::fork::after_vfork
            )
        }
    )*};
}

// vfork is no function that calls libc's: it would return twice to a frame that the child has overwritten.
vforks! { vfork __vfork }

ring3_os::getting_ready!(first, crate::start::begin);

doors! {
    ipc: msgget msgctl msgsnd msgrcv semget semop semtimedop semctl shmget shmat shmdt shmctl syscall;
    signal: sigaction __sigaction signal bsd_signal ssignal sysv_signal __sysv_signal sigignore sigset siginterrupt;
    fork: fork __fork _Fork forkpty daemon clone __clone unshare;
    wait: wait __wait waitpid __waitpid wait3 wait4 waitid system popen pclose;
    cancel: pthread_cancel;
    namespace: setns;
    memory: munmap mmap mmap64 mremap;
    memory: remap_file_pages mprotect pkey_mprotect madvise posix_madvise process_madvise mlock mlock2 munlock mlockall munlockall mseal;
    credentials: setuid setgid seteuid setegid setreuid setregid setresuid setresgid setgroups initgroups capset;
    filter: prctl;
    descriptors: close dup2 dup3 close_range closefrom chroot;
    exec: execve execv execvpe execvp fexecve execveat posix_spawn posix_spawnp execl execlp execle;
    procfs: creat creat64 open open64 __open __open64 __open_2 __open64_2 openat openat64 __openat_2 __openat64_2 fopen fopen64 freopen freopen64;
    procfs: access eaccess euidaccess faccessat stat stat64 lstat lstat64 __xstat __xstat64 __lxstat __lxstat64;
    procfs: fstat fstat64 __fxstat __fxstat64 fstatat fstatat64 __fxstatat __fxstatat64 statx;
}

lookups! {
    dlsym => DLSYM;
    dlvsym => DLVSYM;
}

/// What gcc's AddressSanitizer asks the program for, if the program does not answer by itself: its runtime is a library, and refuses to run
/// behind another one of LD_PRELOAD's. It serves as well there: the calls that it watches reach it through us. It asks before anything is ready.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn __asan_default_options() {
    ring3_os::text_body!("verify_asan_link_order=0")
}
