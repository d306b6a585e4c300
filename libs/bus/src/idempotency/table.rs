//! Who handles what now: one message for all replicas of a consumer, changed by compare-and-set only.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::Key;

/// The first byte of a table.
const VERSION: u8 = 1;
/// An owner that has not written for so long is forgotten, as its claims would be by the age of the bucket.
const FORGOTTEN_AFTER_S: u64 = 24 * 3600;

/// The claims of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    /// The inbox on which it answers for its claims.
    inbox: Bytes,
    /// When it last wrote; seconds since 1970.
    wrote: u64,
    keys: Vec<Key>,
}

/// The claims of all processes: each id at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    owners: Vec<Owner>,
}

impl Table {
    /// Whoever has claimed this id.
    pub(super) fn holder(&self, key: Key) -> Option<&Bytes> {
        self.owners.iter().find(|owner| owner.keys.contains(&key)).map(|owner| &owner.inbox)
    }

    /// Takes an id away from whoever has it.
    pub(super) fn take(&mut self, key: Key) {
        for owner in &mut self.owners {
            owner.keys.retain(|held| *held != key);
        }
    }

    /// Gives an id that nobody has to this owner.
    pub(super) fn give(&mut self, inbox: &Bytes, key: Key, now: u64) {
        match self.owners.iter_mut().find(|owner| owner.inbox == inbox) {
            Some(owner) => {
                owner.keys.push(key);
                owner.wrote = now;
            }
            None => self.owners.push(Owner { inbox: inbox.clone(), wrote: now, keys: vec![key] }),
        }
    }

    /// Takes away what this owner does not hold any more. Whether there was something.
    pub(super) fn withdraw(&mut self, inbox: &Bytes, holds: impl Fn(Key) -> bool) -> bool {
        let Some(owner) = self.owners.iter_mut().find(|owner| owner.inbox == inbox) else {
            return false;
        };
        let before = owner.keys.len();
        owner.keys.retain(|key| holds(*key));
        owner.keys.len() < before
    }

    /// Forgets what is handled, and owners that have nothing or are gone for a day.
    pub(super) fn tidy(&mut self, is_done: impl Fn(Key) -> bool, now: u64) {
        for owner in &mut self.owners {
            owner.keys.retain(|key| !is_done(*key));
        }
        self.owners.retain(|owner| {
            !owner.keys.is_empty() && owner.wrote.saturating_add(FORGOTTEN_AFTER_S) > now
        });
    }

    /// Whether somebody else has claims.
    pub(super) fn is_shared(&self, inbox: &Bytes) -> bool {
        self.owners.iter().any(|owner| owner.inbox != inbox)
    }

    pub(super) fn encode(&self) -> Bytes {
        let keys: usize = self.owners.iter().map(|owner| owner.keys.len()).sum();
        let mut body = BytesMut::with_capacity(1 + 80 * self.owners.len() + Key::SIZE * keys);
        body.put_u8(VERSION);
        for owner in &self.owners {
            body.put_u16(owner.inbox.len() as u16);
            body.put_slice(&owner.inbox);
            body.put_u64(owner.wrote);
            body.put_u32(owner.keys.len() as u32);
            owner.keys.iter().for_each(|key| body.put_slice(&key.0));
        }
        body.freeze()
    }

    /// Nothing where it is none of this version.
    pub(super) fn decode(mut body: Bytes) -> Option<Self> {
        if body.try_get_u8().ok()? != VERSION {
            return None;
        }
        let mut table = Self::default();
        while body.has_remaining() {
            let length = usize::from(body.try_get_u16().ok()?);
            if body.remaining() < length {
                return None;
            }
            let inbox = body.copy_to_bytes(length);
            let wrote = body.try_get_u64().ok()?;
            let length = (body.try_get_u32().ok()? as usize).checked_mul(Key::SIZE)?;
            if body.remaining() < length {
                return None;
            }
            let keys = Key::all_of(&body.copy_to_bytes(length)).collect();
            table.owners.push(Owner { inbox, wrote, keys });
        }
        Some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Bytes = Bytes::from_static(b"_INBOX_tool.a");
    const B: Bytes = Bytes::from_static(b"_INBOX_tool.b");

    fn table() -> Table {
        let mut table = Table::default();
        table.give(&A, Key::of("1"), 5);
        table.give(&A, Key::of("2"), 6);
        table.give(&B, Key::of("3"), 7);
        table
    }

    #[test]
    fn an_id_has_one_owner_at_a_time() {
        let mut table = table();
        assert_eq!(table.holder(Key::of("1")), Some(&A));
        table.take(Key::of("1"));
        assert_eq!(table.holder(Key::of("1")), None);
        table.give(&B, Key::of("1"), 8);
        assert_eq!(table.holder(Key::of("1")), Some(&B));
        assert!(table.withdraw(&B, |key| key == Key::of("3")));
        assert_eq!(table.holder(Key::of("1")), None);
        assert!(!table.withdraw(&B, |key| key == Key::of("3")));
        assert!(table.is_shared(&A) && table.is_shared(&B));
    }

    #[test]
    fn a_table_is_read_as_it_was_written_and_a_broken_one_not_at_all() {
        let (table, body) = (table(), table().encode());
        assert_eq!(Table::decode(body.clone()), Some(table));
        assert_eq!(Table::decode(Bytes::from_static(&[VERSION])), Some(Table::default()));
        assert_eq!(Table::decode(Bytes::new()), None);
        assert_eq!(Table::decode(Bytes::from_static(b"\x02")), None);
        let whole = [1 + 2 + 13 + 8 + 4 + 32];
        for length in (2..body.len()).filter(|length| !whole.contains(length)) {
            assert_eq!(Table::decode(body.slice(..length)), None, "{length} bytes");
        }
    }

    #[test]
    fn what_is_handled_and_who_is_gone_for_a_day_is_forgotten() {
        let mut table = table();
        table.tidy(|key| key == Key::of("3"), 7);
        assert_eq!(table.holder(Key::of("3")), None);
        assert!(!table.is_shared(&A), "an owner of nothing is none");
        assert_eq!(table.holder(Key::of("2")), Some(&A));
        table.tidy(|_| false, 6 + FORGOTTEN_AFTER_S);
        assert_eq!(table, Table::default());
    }
}
