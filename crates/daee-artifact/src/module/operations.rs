/// An operation of the door (`docs/spec/door.md`) that a module can be seen to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// As a guest calls it.
    pub name: &'static str,
    /// The kind of permission it needs; nothing where everybody may.
    pub permission: Option<&'static str>,
}

/// Every operation whose name has a dot. `log`, `now` and `random` are words that any module may hold.
pub const OPERATIONS: [Operation; 22] = [
    always("event.next"),
    always("event.answer"),
    always("state.get"),
    always("state.set"),
    always("state.delete"),
    always("state.list"),
    always("state.cas"),
    always("file.stat"),
    always("file.read"),
    always("file.write"),
    always("file.truncate"),
    always("file.create"),
    always("file.list"),
    always("file.mkdir"),
    always("file.remove"),
    always("file.rename"),
    always("file.touch"),
    always("timer.set"),
    always("timer.cancel"),
    needs("http.fetch", "network_outbound"),
    needs("ipfs.read", "read_ipfs"),
    needs("chain.publish", "publish_to_chain"),
];

const fn always(name: &'static str) -> Operation {
    Operation { name, permission: None }
}

const fn needs(name: &'static str, permission: &'static str) -> Operation {
    Operation { name, permission: Some(permission) }
}

/// Which operations are named in data, as bits in the order of [`OPERATIONS`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named(u32);

impl Named {
    /// Looks for names in one data segment.
    pub(super) fn see(&mut self, data: &[u8]) {
        // Dots in words are rare, and every name has one.
        for dot in data
            .windows(3)
            .enumerate()
            .filter(|(_, at)| at[1] == b'.' && at[0] != b'.')
            .map(|(n, _)| n + 1)
        {
            for (n, Operation { name, .. }) in OPERATIONS.iter().enumerate() {
                let front = name.find('.').unwrap_or_default();
                let from = dot.checked_sub(front).and_then(|from| data.get(from..));
                let named = from.is_some_and(|from| from.starts_with(name.as_bytes()));
                self.0 |= u32::from(named) << n;
            }
        }
    }

    pub(super) fn names(self) -> Vec<&'static str> {
        let named = |(n, _): &(usize, &Operation)| self.0 >> n & 1 == 1;
        OPERATIONS.iter().enumerate().filter(named).map(|(_, operation)| operation.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_are_whole() {
        let names = |data: &[u8]| {
            let mut named = Named::default();
            named.see(data);
            named.names()
        };
        assert_eq!(names(b"\0http.fetchstate.get."), ["state.get", "http.fetch"]);
        assert!(names(b".fetch http.fetc p.fetch ipfs_read...").is_empty());
        assert!(names(b"").is_empty());
    }

    #[test]
    fn the_table_is_that_of_the_door() {
        let door = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/door.md");
        let door = std::fs::read_to_string(door).unwrap();
        let table = door.split("## Operations").nth(1).unwrap().split("\n\n").nth(2).unwrap();
        let said: Vec<(&str, Option<&str>)> = table
            .lines()
            .skip(2)
            .map(|line| {
                let cells: Vec<&str> = line.trim_matches('|').split(" |").map(str::trim).collect();
                let permission = cells[3].split('`').nth(1).and_then(|p| p.split(':').next());
                (cells[0].trim_matches('`'), permission)
            })
            .filter(|(name, _)| name.contains('.'))
            .collect();
        let ours: Vec<_> = OPERATIONS.iter().map(|o| (o.name, o.permission)).collect();
        assert_eq!(said, ours);
    }
}
