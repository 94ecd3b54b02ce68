//! Versions of the protocol.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version that Linux speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Version {
    V3,
    V4_0,
    V4_1,
    V4_2,
}

impl Version {
    /// All of them, the best one first.
    pub(super) const ALL: [Self; 4] = [Self::V4_2, Self::V4_1, Self::V4_0, Self::V3];

    /// As in `vers=`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::V3 => "3",
            Self::V4_0 => "4.0",
            Self::V4_1 => "4.1",
            Self::V4_2 => "4.2",
        }
    }

    /// Those that the value of `vers` means: `4` any of the fourth, `4.1` that one.
    pub(super) fn parse(text: &str) -> Option<Vec<Self>> {
        let meant: Vec<_> = match text {
            "4" => Self::ALL.into_iter().filter(|version| *version != Self::V3).collect(),
            _ => Self::ALL.into_iter().filter(|version| version.as_str() == text).collect(),
        };
        (!meant.is_empty()).then_some(meant)
    }

    /// The file system of the kernel.
    pub(super) fn fs_type(self) -> &'static str {
        if self == Self::V3 { "nfs" } else { "nfs4" }
    }

    /// The number in `minorversion`, of the fourth.
    pub(super) fn minor(self) -> Option<u32> {
        match self {
            Self::V3 => None,
            Self::V4_0 => Some(0),
            Self::V4_1 => Some(1),
            Self::V4_2 => Some(2),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_without_a_point_is_any_of_them() {
        assert_eq!(Version::parse("4"), Some(vec![Version::V4_2, Version::V4_1, Version::V4_0]));
        assert_eq!(Version::parse("3"), Some(vec![Version::V3]));
        for bad in ["", "2", "4.3", "5", "4.", " 4", "v4"] {
            assert_eq!(Version::parse(bad), None, "{bad:?}");
        }
    }
}
