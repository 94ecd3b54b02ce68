//! Keys of reservations, and what the controller says of them to the node.
//!
//! A key says whose it is and since when: 40 bits of the node's name, and the number of the attachment at this volume. So
//! each attachment has a key of its own, and a node can tell the key of one that the controller has ended from the key of
//! one that holds.

use std::fmt;

use flexvolume_os::reservation;
use serde::{Deserialize, Serialize};

use crate::pool::short_hash;
use crate::remote_disk::{Admission, Holder};

/// Bits of a key that count attachments.
const NUMBER_BITS: u32 = 24;
const HIGHEST_NUMBER: u64 = (1 << NUMBER_BITS) - 1;

/// What a node is known by at a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// The key of an attachment.
    pub(crate) fn of(holder: &Holder) -> Self {
        // Never zero: attachments are counted from one, and after the last number comes the first.
        let number = holder.number.saturating_sub(1) % HIGHEST_NUMBER + 1;
        Self(short_hash(holder.node.as_bytes()) << NUMBER_BITS | number)
    }

    fn number(self) -> u64 {
        self.0 & HIGHEST_NUMBER
    }

    fn node(self) -> u64 {
        self.0 >> NUMBER_BITS
    }

    /// Whether it is the key of this attachment or of an earlier one of the same node.
    pub(crate) fn is_at_most(self, other: Self) -> bool {
        self.node() == other.node() && self.number() <= other.number()
    }

    /// As the disk knows it.
    pub(crate) fn on_disk(self) -> Option<reservation::Key> {
        reservation::Key::new(self.0)
    }
}

impl From<reservation::Key> for Key {
    fn from(key: reservation::Key) -> Self {
        Self(key.value())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#018x}", self.0)
    }
}

/// What `attach` answers instead of a device, and `waitforattach` gets: which attachment this is, and which ones the
/// controller has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pass {
    pub(crate) own: Holder,
    pub(crate) released: Vec<Holder>,
}

impl Pass {
    pub(crate) fn new(node: &str, admission: Admission) -> Self {
        Self { own: Holder { node: node.to_owned(), number: admission.number }, released: admission.released }
    }

    /// The pass of a node that no controller speaks for: nobody's key may be thrown out.
    pub(crate) fn without_controller(initiator: &str) -> Self {
        Self { own: Holder { node: initiator.to_owned(), number: 1 }, released: Vec::new() }
    }

    /// One line of JSON.
    pub(crate) fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// `None` for anything else, such as what another host answers for a device.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The own key.
    pub(crate) fn key(&self) -> Key {
        Key::of(&self.own)
    }

    /// Whether nobody may write with this key any more, as far as the controller has said.
    pub(crate) fn is_released(&self, key: Key) -> bool {
        let earlier = key != self.key() && key.is_at_most(self.key());
        earlier || self.released.iter().any(|holder| key.is_at_most(Key::of(holder)))
    }

    /// The node of a key, if it is one that we have heard of.
    pub(crate) fn node_of(&self, key: Key) -> Option<&str> {
        let known = self.released.iter().chain([&self.own]);
        known
            .map(|holder| (holder, Key::of(holder)))
            .find(|(_, known)| known.node() == key.node())
            .map(|(holder, _)| &*holder.node)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holder(node: &str, number: u64) -> Holder {
        Holder { node: node.to_owned(), number }
    }

    #[test]
    fn only_what_the_controller_has_ended_is_released() {
        let pass = Pass { own: holder("b", 5), released: vec![holder("a", 4)] };
        for (node, number, released) in [
            ("a", 4, true),
            ("a", 3, true),
            ("a", 6, false),
            ("b", 5, false),
            ("b", 2, true),
            ("b", 6, false),
            ("c", 1, false),
        ] {
            assert_eq!(pass.is_released(Key::of(&holder(node, number))), released, "{node} {number}");
        }
        assert!(!pass.is_released(Key(0x77)));
        assert_eq!(pass.node_of(Key::of(&holder("a", 9))), Some("a"));
        assert_eq!(pass.node_of(Key::of(&holder("c", 4))), None);
        let alone = Pass::without_controller("iqn.2026-01.test:a");
        assert!(!alone.is_released(Key::of(&holder("a", 1))));
    }

    #[test]
    fn a_pass_is_read_as_it_was_written_and_nothing_else_is_one() {
        let pass = Pass { own: holder("b\"\n", 5), released: vec![holder("a", 4)] };
        assert_eq!(Pass::decode(&pass.encode()), Some(pass));
        for text in ["", "/dev/sda", "{}", "null", "[]", "{\"own\":{}}"] {
            assert_eq!(Pass::decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_never_zero(node in any::<String>(), number in any::<u64>()) {
            let key = Key::of(&holder(&node, number));
            prop_assert!(key.on_disk().is_some());
            prop_assert!((1..=HIGHEST_NUMBER).contains(&key.number()));
            prop_assert_eq!(key.to_string().len(), 18);
        }

        #[test]
        fn no_text_breaks_the_reading_of_a_pass(text in any::<String>()) {
            let _ = Pass::decode(&text);
        }
    }
}
