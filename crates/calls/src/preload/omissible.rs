//! Functions of libc that a program may use and still be started without the agent (`mod.rs`): the omissible ones.
//!
//! An omissible function leads, by whatever it does inside libc, to no call that the agent serves, no other program, and no library that the
//! program did not name. So exec, fork, dlopen, name services (getpwnam), iconv_open and gethostid are not omissible, nor is any door. **A new
//! door takes its name, and the names that lead to it inside libc, out of the list**; a unit test sees to the first. close and dup2 stay in the list, though
//! they are doors: they do nothing in a program that has no connection to the broker. A name that is not in the list is not omissible.

/// The omissible functions, by topic.
const NAMES: &str = "
    __libc_start_main __gmon_start__ _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable __cxa_finalize __cxa_atexit atexit
    __stack_chk_fail __assert_fail abort exit _exit _Exit setjmp _setjmp __sigsetjmp longjmp _longjmp siglongjmp __longjmp_chk
    environ __environ _environ __progname __progname_full program_invocation_name program_invocation_short_name getenv
    secure_getenv setenv unsetenv putenv clearenv getopt getopt_long getopt_long_only optarg optind opterr optopt __errno_location

    malloc calloc realloc reallocarray free aligned_alloc posix_memalign
    memchr memcmp memcpy memmem memmove mempcpy memrchr memset rawmemchr
    stpcpy stpncpy strcasecmp strcasestr strcat strchr strchrnul strcmp strcoll strcpy strcspn strdup strlen strncasecmp
    strncat strncmp strncpy strndup strnlen strpbrk strrchr strsep strspn strstr strtok strtok_r strverscmp strxfrm
    strerror strerror_r __xpg_strerror_r strsignal
    __memcpy_chk __memmove_chk __mempcpy_chk __memset_chk __stpcpy_chk __strcat_chk __strcpy_chk __strncat_chk __strncpy_chk
    isalnum isalpha isascii isblank iscntrl isdigit isgraph islower isprint ispunct isspace isupper isxdigit tolower toupper
    __ctype_b_loc __ctype_get_mb_cur_max __ctype_tolower_loc __ctype_toupper_loc
    btowc wctob mblen mbrlen mbrtowc mbsinit mbsrtowcs mbstowcs mbtowc wcrtomb wcsrtombs wcstombs wctomb wcscpy wcslen wcscmp
    wcswidth wcwidth wctype iswalnum iswalpha iswblank iswcntrl iswctype iswdigit iswgraph iswlower iswprint iswpunct iswspace
    iswupper iswxdigit towlower towupper wmemchr wmemcpy wmemmove wmemset
    abs labs llabs div ldiv lldiv atof atoi atol atoll strtod strtod_l strtof strtoimax strtol strtold strtoll strtoul strtoull
    strtoumax __isoc23_strtoimax __isoc23_strtol __isoc23_strtoll __isoc23_strtoul __isoc23_strtoull __isoc23_strtoumax
    bsearch qsort qsort_r rand rand_r srand random srandom getrandom getentropy

    stdin stdout stderr printf fprintf dprintf vprintf vfprintf sprintf snprintf vsprintf vsnprintf asprintf vasprintf
    __printf_chk __fprintf_chk __dprintf_chk __vprintf_chk __vfprintf_chk __sprintf_chk __snprintf_chk __vsprintf_chk
    __vsnprintf_chk __asprintf_chk __vasprintf_chk sscanf __isoc99_sscanf __isoc23_sscanf perror
    putc putc_unlocked putchar putchar_unlocked puts putwc putwchar fputc fputc_unlocked fputs fputs_unlocked fputwc fwrite
    fwrite_unlocked getc getc_unlocked getchar getchar_unlocked getwc getwchar getdelim getline __getdelim fgetc fgets
    fgets_unlocked fgetwc fread fread_unlocked __fread_chk __fgets_chk ungetc __overflow __uflow
    fclose fdopen feof feof_unlocked ferror ferror_unlocked clearerr clearerr_unlocked fflush fflush_unlocked fileno
    fileno_unlocked fseek fseeko fseeko64 ftell ftello ftello64 rewind setbuf setlinebuf setvbuf
    __fpending __freading __fwriting __fpurge
    err errx verr verrx warn warnx vwarn vwarnx error error_at_line
    setlocale localeconv newlocale uselocale freelocale duplocale nl_langinfo bindtextdomain bind_textdomain_codeset textdomain
    gettext dgettext dcgettext ngettext dngettext dcngettext

    time clock clock_gettime clock_getres gettimeofday gmtime gmtime_r localtime localtime_r mktime timegm strftime tzset
    timezone daylight tzname difftime nanosleep clock_nanosleep sleep usleep pause alarm
    getpid getppid getpgrp getpgid getsid getuid geteuid getgid getegid getgroups uname gethostname getpagesize sysconf pathconf
    fpathconf confstr getrlimit getrlimit64 getrusage sched_getaffinity __sched_cpucount sched_yield get_nprocs get_nprocs_conf
    kill raise sigqueue sigemptyset sigfillset sigaddset sigdelset sigismember sigprocmask
    __libc_current_sigrtmin __libc_current_sigrtmax pthread_mutex_init pthread_mutex_destroy pthread_mutex_lock
    pthread_mutex_unlock
    read write close lseek lseek64 fsync fdatasync sync syncfs ftruncate ftruncate64 posix_fadvise posix_fadvise64
    copy_file_range dup dup2 dup3 fcntl fcntl64 ioctl isatty ttyname ttyname_r tcgetattr tcsetattr getcwd chdir fchdir
    link linkat unlink unlinkat rename renameat mkdir mkdirat rmdir symlink symlinkat readlink readlinkat umask
    opendir fdopendir readdir readdir64 rewinddir closedir dirfd
    setutxent getutxent endutxent utmpxname
";

/// The names' hashes, in order: no pointers, so nothing to relocate.
static HARMLESS: [u64; count()] = table();

/// A name's hash: FNV-1a of 64 bits, under which libc's names all differ.
const fn hash(mut hash: u64, byte: u8) -> u64 {
    hash ^= byte as u64;
    hash.wrapping_mul(0x100_0000_01b3)
}

const EMPTY: u64 = 0xcbf2_9ce4_8422_2325;

/// How many names there are.
const fn count() -> usize {
    let (bytes, mut at, mut count) = (NAMES.as_bytes(), 1, 0);
    while at < bytes.len() {
        if bytes[at].is_ascii_whitespace() && !bytes[at - 1].is_ascii_whitespace() {
            count += 1;
        }
        at += 1;
    }
    count
}

const fn table() -> [u64; count()] {
    let mut table = [0; count()];
    let (bytes, mut at, mut filled, mut name) = (NAMES.as_bytes(), 0, 0, EMPTY);
    while at < bytes.len() {
        if !bytes[at].is_ascii_whitespace() {
            name = hash(name, bytes[at]);
        } else if name != EMPTY {
            // Into its place among those that are there.
            let mut place = filled;
            while place > 0 && table[place - 1] > name {
                table[place] = table[place - 1];
                place -= 1;
            }
            table[place] = name;
            filled += 1;
            name = EMPTY;
        }
        at += 1;
    }
    table
}

/// Whether a name is one of them.
pub(crate) fn is_omissible(name: &[u8]) -> bool {
    HARMLESS.binary_search(&name.iter().copied().fold(EMPTY, hash)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    /// Doors that only keep a program from closing the connection to the broker.
    const KEEPING: [&str; 3] = ["close", "dup2", "dup3"];

    #[test]
    fn a_door_is_not_omissible() {
        let exports =
            include_str!("../../../agent/exports.txt").lines().filter(|line| !line.starts_with('#'));
        let doors = exports.filter(|name| is_omissible(name.as_bytes()));
        let doors: Vec<&str> = doors.filter(|name| !KEEPING.contains(name)).collect();
        assert!(doors.is_empty(), "{doors:?}");
        for name in
            ["", "dlopen", "dlsym", "vfork", "clone", "getpwnam", "iconv_open", "wordexp", "gethostid"]
        {
            assert!(!is_omissible(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn each_name_is_there_once() {
        let names: BTreeSet<&str> = NAMES.split_whitespace().collect();
        assert_eq!((names.len(), HARMLESS.len()), (NAMES.split_whitespace().count(), names.len()));
        assert!(names.iter().all(|name| is_omissible(name.as_bytes())));
        assert!(HARMLESS.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
