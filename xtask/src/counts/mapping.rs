//! What is mapped where in a process.

/// A line of /proc/PID/maps.
pub(super) struct Mapping<'m> {
    from: u64,
    to: u64,
    /// The file, or what the kernel calls it.
    pub(super) path: &'m str,
}

impl<'m> Mapping<'m> {
    /// All lines.
    pub(super) fn all(maps: &'m str) -> impl Iterator<Item = Mapping<'m>> {
        maps.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (from, to) = words.next()?.split_once('-')?;
            let (from, to) = (u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?);
            Some(Mapping { from, to, path: words.nth(4).unwrap_or_default() })
        })
    }

    /// Whether an address is in it.
    pub(super) fn has(&self, address: u64) -> bool {
        (self.from..self.to).contains(&address)
    }

    /// Where a file's mappings begin.
    pub(super) fn base(maps: &'m str, path: &str) -> u64 {
        Mapping::all(maps).find(|mapping| mapping.path == path).map_or(0, |mapping| mapping.from)
    }
}
