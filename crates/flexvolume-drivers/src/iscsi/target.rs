//! Where a disk is: portals, the name of a target, the number of a disk.

use std::fmt;

use flexvolume_os::reach::Host;

use crate::remote_disk::RemoteDisk;

/// The port of iSCSI.
pub(crate) const PORT: u16 = 3260;

/// RFC 7143, 4.2.7.1.
const LONGEST_NAME: usize = 223;

/// What a disk can be numbered in the flat way, which is all that arrays use (SAM-5, 4.7.7.3).
const HIGHEST_LUN: u16 = 16383;

/// The name of a target or an initiator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// `iqn.2026-01.example.storage:disk`, `eui.` with 16 hexadecimal digits or `naa.` with 16 or 32. What has no place in
    /// a file name or in a line of open-iscsi's records has none in a name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST_NAME {
            return Err(format!("a name of iSCSI has at most {LONGEST_NAME} bytes"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:_".contains(&byte);
        if !text.bytes().all(plain) {
            return Err("a name of iSCSI has letters, digits, `-`, `.`, `:` and `_` only".to_owned());
        }
        let hexadecimal = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_name = match text.split_once('.') {
            Some(("iqn", rest)) => is_qualified(rest),
            Some(("eui", digits)) => digits.len() == 16 && hexadecimal(digits),
            Some(("naa", digits)) => [16, 32].contains(&digits.len()) && hexadecimal(digits),
            _ => false,
        };
        if is_name {
            return Ok(Self(text.to_owned()));
        }
        Err("it is no name such as \"iqn.2026-01.example.storage:disk\" (year, month and a domain backwards)"
            .to_owned())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// `2026-01.example.storage`, and anything after a colon.
fn is_qualified(rest: &str) -> bool {
    let Some((date, authority)) = rest.split_once('.') else { return false };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_date = matches!(date.split_once('-'), Some((year, month))
        if year.len() == 4 && month.len() == 2 && digits(year) && digits(month));
    is_date && !authority.is_empty() && !authority.starts_with([':', '.'])
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A door of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Portal {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl Portal {
    /// Reads what [`Display`](fmt::Display) writes, which is also what a person writes: `host`, `host:port`,
    /// `[address]:port`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_address = text.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !is_address && !text.ends_with(']') => (host, parse_port(port)?),
            _ => (text, PORT),
        };
        let host = Host::parse(&host.to_ascii_lowercase()).map_err(|error| error.to_string())?;
        Ok(Self { host, port })
    }
}

/// Digits only: `+1` and ` 1` are slips.
fn parse_port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or_else(|| "a port is a number from 1 to 65535".to_owned())
}

impl fmt::Display for Portal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

/// One disk of one target: what a volume is. A target has one name in the world, whatever the portals that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: Name,
    pub(crate) lun: u16,
}

/// Digits only, and no more than there can be.
pub(crate) fn parse_lun(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let lun = text.parse().ok().filter(|lun| digits && *lun <= HIGHEST_LUN);
    lun.ok_or_else(|| format!("it is a number from 0 to {HIGHEST_LUN}"))
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LUN {} of {}", self.lun, self.name)
    }
}

impl RemoteDisk for Target {
    fn identity(&self) -> String {
        format!("{}\n{}", self.name, self.lun)
    }

    fn of_identity(text: &str) -> Option<Self> {
        let (name, lun) = text.split_once('\n')?;
        Some(Self { name: Name::parse(name).ok()?, lun: parse_lun(lun).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_the_standard() {
        for name in [
            "iqn.2001-04.com.example",
            "iqn.2001-04.com.example:storage:diskarrays-sn-a8675309",
            "iqn.2000-01.com.synology:NAS.Target-1.0f0f",
            "eui.02004567A425678D",
            "naa.52004567BA64678D",
            "naa.62004567BA64678D0123456789ABCDEF",
        ] {
            assert_eq!(Name::parse(name).unwrap().as_str(), name);
        }
        let long = format!("iqn.2001-04.com.example:{}", "x".repeat(200));
        for name in [
            "",
            "iqn",
            "iqn.",
            "iqn.2001-04",
            "iqn.2001-04.",
            "iqn.2001-04.:x",
            "iqn.2001-4.com.example",
            "iqn.20o1-04.com.example",
            "iqn.2001-04..",
            "com.example",
            "eui.123",
            "naa.zzzz4567BA64678D",
            "iqn.2001-04.com.example:a b",
            "iqn.2001-04.com.example:a\nnode.session.auth.password = x",
            "iqn.2001-04.com.example:a\0",
            "iqn.2001-04.com.example:a,b",
            "iqn.2001-04.com.example:a/../b",
            "iqn.2001-04.com.example:a\\b",
            "iqn.2001-04.com.example:ü",
            &long,
        ] {
            assert!(Name::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn portals_are_written_in_several_ways() {
        for (text, written) in [
            ("Storage.Example", "storage.example:3260"),
            ("10.0.0.7:1000", "10.0.0.7:1000"),
            ("::1", "[::1]:3260"),
            ("[FD00:0::1]:7", "[fd00::1]:7"),
            ("[fd00::1]", "[fd00::1]:3260"),
        ] {
            let portal = Portal::parse(text).unwrap();
            assert_eq!(portal.to_string(), written);
            assert_eq!(Portal::parse(written).unwrap(), portal);
        }
        for text in [
            "", "a b", "a:0", "a:65536", "a:+1", "a:", ":1", "a\nb", "a,b", "a\\b", "a\0", "[::1", "-x",
            "a:1:2",
        ] {
            assert!(Portal::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_lun_is_a_small_number() {
        assert_eq!((parse_lun("0"), parse_lun("16383")), (Ok(0), Ok(16383)));
        for text in ["", "-1", "+1", "16384", "65536", "1.0", " 1", "1\n", "0x1", "99999999999999999999"] {
            assert!(parse_lun(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_identity_leads_back_to_the_disk() {
        let target = Target { name: Name::parse("iqn.2001-04.com.example:x").unwrap(), lun: 7 };
        assert_eq!(Target::of_identity(&target.identity()), Some(target));
        for text in ["", "iqn.2001-04.com.example:x", "iqn.2001-04.com.example:x\n", "x\n1"] {
            assert_eq!(Target::of_identity(text), None);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_for_a_name_stays_on_one_line_and_in_one_file(text in any::<String>()) {
            for text in [text.clone(), format!("iqn.2001-04.com.example{text}")] {
                if let Ok(name) = Name::parse(&text) {
                    prop_assert!(!name.as_str().contains(['/', '\n', '\0', ' ', '=', ',', '#']));
                    prop_assert!(!name.as_str().starts_with('.'));
                }
            }
        }

        #[test]
        fn whatever_is_taken_for_a_portal_is_written_and_read_again(text in "[a-z0-9:.\\[\\]-]{0,24}") {
            if let Ok(portal) = Portal::parse(&text) {
                prop_assert_eq!(Portal::parse(&portal.to_string()).unwrap(), portal);
            }
        }
    }
}
