//! `struct stat` of aarch64. stat(2).

/// Its length, bytes.
pub const STAT_LEN: usize = 128;

/// The structure of a file of root's in /proc, empty, with this mode and inode.
pub fn stat_of(mode: u32, inode: u64) -> [u64; STAT_LEN / 8] {
    let mut stat = [0; STAT_LEN / 8];
    // st_dev, st_ino, st_mode with st_nlink above it; st_blksize.
    [stat[0], stat[1], stat[2], stat[7]] = [0x15, inode, u64::from(mode) | 1 << 32, 1024];
    stat
}

/// st_mode and st_nlink.
pub fn stat_mode_and_links(stat: &[u64; STAT_LEN / 8]) -> (u32, u64) {
    (stat[2] as u32, stat[2] >> 32)
}
