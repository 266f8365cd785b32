//! Our structures and numbers against libc's: same sizes, same offsets, same values.

use core::mem::{offset_of, size_of};
use ring3_abi::{Errno, ipc, msg, sem, shm};

macro_rules! same {
    ($($ours:expr => $theirs:expr),* $(,)?) => { $(assert_eq!($ours as i64, $theirs as i64, stringify!($ours));)* };
}

#[test]
fn structures_have_libcs_layout() {
    same! {
        size_of::<ipc::IpcPerm>() => size_of::<libc::ipc_perm>(),
        size_of::<msg::Msqid>() => size_of::<libc::msqid_ds>(),
        size_of::<sem::Semid>() => size_of::<libc::semid_ds>(),
        size_of::<shm::Shmid>() => size_of::<libc::shmid_ds>(),
        size_of::<sem::Sembuf>() => size_of::<libc::sembuf>(),
        offset_of!(ipc::IpcPerm, mode) => offset_of!(libc::ipc_perm, mode),
        offset_of!(ipc::IpcPerm, seq) => offset_of!(libc::ipc_perm, __seq),
        offset_of!(msg::Msqid, stime) => offset_of!(libc::msqid_ds, msg_stime),
        offset_of!(msg::Msqid, ctime) => offset_of!(libc::msqid_ds, msg_ctime),
        offset_of!(msg::Msqid, qnum) => offset_of!(libc::msqid_ds, msg_qnum),
        offset_of!(msg::Msqid, qbytes) => offset_of!(libc::msqid_ds, msg_qbytes),
        offset_of!(msg::Msqid, lrpid) => offset_of!(libc::msqid_ds, msg_lrpid),
        offset_of!(sem::Semid, otime) => offset_of!(libc::semid_ds, sem_otime),
        offset_of!(sem::Semid, ctime) => offset_of!(libc::semid_ds, sem_ctime),
        offset_of!(sem::Semid, nsems) => offset_of!(libc::semid_ds, sem_nsems),
        offset_of!(shm::Shmid, segsz) => offset_of!(libc::shmid_ds, shm_segsz),
        offset_of!(shm::Shmid, atime) => offset_of!(libc::shmid_ds, shm_atime),
        offset_of!(shm::Shmid, cpid) => offset_of!(libc::shmid_ds, shm_cpid),
        offset_of!(shm::Shmid, nattch) => offset_of!(libc::shmid_ds, shm_nattch),
    }
}

#[test]
fn numbers_are_libcs() {
    same! {
        ipc::IPC_CREAT => libc::IPC_CREAT,
        ipc::IPC_EXCL => libc::IPC_EXCL,
        ipc::IPC_NOWAIT => libc::IPC_NOWAIT,
        ipc::IPC_RMID => libc::IPC_RMID,
        ipc::IPC_SET => libc::IPC_SET,
        ipc::IPC_STAT => libc::IPC_STAT,
        ipc::IPC_INFO => libc::IPC_INFO,
        msg::MSG_NOERROR => libc::MSG_NOERROR,
        msg::MSG_EXCEPT => libc::MSG_EXCEPT,
        msg::MSG_COPY => libc::MSG_COPY,
        msg::MSG_STAT => libc::MSG_STAT,
        msg::MSG_INFO => libc::MSG_INFO,
        sem::SEM_UNDO => libc::SEM_UNDO,
        sem::GETPID => libc::GETPID,
        sem::GETVAL => libc::GETVAL,
        sem::GETALL => libc::GETALL,
        sem::GETNCNT => libc::GETNCNT,
        sem::GETZCNT => libc::GETZCNT,
        sem::SETVAL => libc::SETVAL,
        sem::SETALL => libc::SETALL,
        shm::SHM_HUGETLB => libc::SHM_HUGETLB,
        shm::SHM_NORESERVE => libc::SHM_NORESERVE,
        shm::SHM_RDONLY => libc::SHM_RDONLY,
        shm::SHM_RND => libc::SHM_RND,
        shm::SHM_REMAP => libc::SHM_REMAP,
        shm::SHM_EXEC => libc::SHM_EXEC,
        shm::SHM_LOCK => libc::SHM_LOCK,
        shm::SHM_UNLOCK => libc::SHM_UNLOCK,
    }
}

#[test]
fn error_numbers_are_libcs() {
    same! {
        Errno::EPERM.0 => libc::EPERM, Errno::ENOENT.0 => libc::ENOENT, Errno::EINTR.0 => libc::EINTR,
        Errno::E2BIG.0 => libc::E2BIG, Errno::EAGAIN.0 => libc::EAGAIN, Errno::ENOMEM.0 => libc::ENOMEM,
        Errno::EACCES.0 => libc::EACCES, Errno::EFAULT.0 => libc::EFAULT, Errno::EEXIST.0 => libc::EEXIST,
        Errno::EINVAL.0 => libc::EINVAL, Errno::EFBIG.0 => libc::EFBIG, Errno::ENOSPC.0 => libc::ENOSPC,
        Errno::ERANGE.0 => libc::ERANGE, Errno::ENOSYS.0 => libc::ENOSYS, Errno::ENOMSG.0 => libc::ENOMSG,
        Errno::EIDRM.0 => libc::EIDRM, Errno::EPROTO.0 => libc::EPROTO, Errno::EOVERFLOW.0 => libc::EOVERFLOW,
        Errno::ECONNRESET.0 => libc::ECONNRESET, Errno::ETIMEDOUT.0 => libc::ETIMEDOUT,
    }
}

#[test]
fn identifiers_take_apart_and_together() {
    for (index, seq) in [(0, 0), (1, 0), (32767, 3), (5, ipc::SEQ_MAX - 1)] {
        let id = ipc::make_id(index, seq);
        assert!(id >= 0);
        assert_eq!(ipc::index_of(id), Some(index));
        assert_eq!(id as u32 >> ipc::SEQ_SHIFT, seq);
    }
    assert_eq!(ipc::index_of(-1), None);
}

#[test]
fn a_get_calls_mode_asks_for_any_of_its_positions() {
    assert_eq!(ipc::requested(0o600), 0o6);
    assert_eq!(ipc::requested(0o040), 0o4);
    assert_eq!(ipc::requested(0o002 | ipc::IPC_CREAT), 0o2);
    assert_eq!(ipc::requested(0), 0);
}

#[test]
fn raw_answers_decode() {
    assert_eq!(Errno::decode(7), Ok(7));
    assert_eq!(Errno::decode(-22), Err(Errno::EINVAL));
    assert_eq!(Errno::decode(-5000), Ok((-5000isize) as usize));
    assert_eq!(Errno::EIDRM.encode(), -43);
}
