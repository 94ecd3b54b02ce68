//! The options of the drivers of iSCSI, typed.

use std::time::Duration;

use flexvolume::Options;

use super::database;
use super::target::{Name, Portal, Target, parse_lun};
use crate::error::RequestError;
use crate::remote_disk::{FORMAT, FileSystemRequest, MOUNT_OPTIONS, PROTECTION, RemoteDisk as _, Wanted};
use crate::request::refuse_unknown;

const TARGET_PORTAL: &str = "targetPortal";
const PORTALS: &str = "portals";
const IQN: &str = "iqn";
const LUN: &str = "lun";
const INITIATOR: &str = "initiatorName";
const CHAP: &str = "chapAuthSession";
const CHAP_DISCOVERY: &str = "chapAuthDiscovery";
const WWID: &str = "wwid";
const RESERVATION: &str = "reservation";
const RECONNECT_TIMEOUT: &str = "reconnectTimeout";

/// The options of the drivers.
pub(crate) const KNOWN: [&str; 13] = [
    TARGET_PORTAL,
    PORTALS,
    IQN,
    LUN,
    INITIATOR,
    CHAP,
    CHAP_DISCOVERY,
    WWID,
    RESERVATION,
    RECONNECT_TIMEOUT,
    FORMAT,
    PROTECTION,
    MOUNT_OPTIONS,
];

/// As long as open-iscsi waits by itself: a server has restarted by then, or will not soon.
const DEFAULT_RECONNECT_TIMEOUT: u64 = 120;
/// A day.
const LONGEST_TIMEOUT: u64 = 86_400;
const MOST_PORTALS: usize = 8;
const LONGEST_WWID: usize = 255;

/// Whether the disk itself keeps other nodes from writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fencing {
    /// Where the disk can.
    Possible,
    /// A disk that cannot is not used.
    Required,
    Off,
}

/// Whether the session must be authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// If there is something to do it with.
    Possible,
    Required,
    Off,
}

/// Which volumes of a target share a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Those of one initiator: the node has logged in, and for all of them.
    Initiator,
    /// None: who has a Secret has logged in for himself.
    Nobody,
}

/// What a volume should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IscsiRequest {
    /// What the host calls it.
    pub(crate) volume: String,
    pub(crate) target: Target,
    /// The ways to the target; one is enough.
    pub(crate) portals: Vec<Portal>,
    pub(crate) initiator: Option<Name>,
    /// Which session it is: volumes of one interface share one with each target.
    pub(crate) interface: String,
    pub(crate) authentication: Authentication,
    /// Which disk of the world it must be.
    pub(crate) wwid: Option<String>,
    pub(crate) fencing: Fencing,
    pub(crate) reconnect_timeout: Duration,
    pub(crate) file_system: FileSystemRequest,
}

impl IscsiRequest {
    pub(crate) fn read(options: &Options, sharing: Sharing) -> Result<Self, RequestError> {
        refuse_unknown(options, &KNOWN)?;
        let target = target(options)?;
        let initiator = parsed(options, INITIATOR, Name::parse)?;
        let name = initiator.as_ref().map(Name::as_str).unwrap_or_default();
        let interface = match sharing {
            Sharing::Initiator => database::interface(name),
            Sharing::Nobody => database::interface(&format!("{name}\n{}", target.identity())),
        };
        Ok(Self {
            volume: options.volume_name.clone(),
            target,
            portals: portals(options)?,
            initiator,
            interface,
            authentication: authentication(options)?,
            wwid: parsed(options, WWID, parse_wwid)?,
            fencing: parsed(options, RESERVATION, parse_fencing)?.unwrap_or(Fencing::Possible),
            reconnect_timeout: parsed(options, RECONNECT_TIMEOUT, parse_timeout)?
                .unwrap_or(Duration::from_secs(DEFAULT_RECONNECT_TIMEOUT)),
            file_system: FileSystemRequest::read(options)?,
        })
    }

    /// What `attach` asks for.
    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted::new(&self.target, &self.volume, self.file_system.access)
    }
}

fn parsed<T>(
    options: &Options,
    key: &'static str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, RequestError> {
    let Some(text) = options.get(key) else { return Ok(None) };
    parse(text).map(Some).map_err(|why| refused(key, text, why))
}

fn refused(key: &'static str, value: &str, why: String) -> RequestError {
    RequestError::Value { key, value: value.chars().take(300).collect(), why }
}

fn target(options: &Options) -> Result<Target, RequestError> {
    let name = parsed(options, IQN, Name::parse)?.ok_or(RequestError::Missing {
        key: IQN,
        meaning: "the name of the target, such as \"iqn.2026-01.example.storage:disk\"",
    })?;
    let lun = parsed(options, LUN, parse_lun)?.ok_or(RequestError::Missing {
        key: LUN,
        meaning: "the number of the disk at its target, such as \"0\"",
    })?;
    Ok(Target { name, lun })
}

/// `targetPortal` first, and then those of `portals`: a list with commas, or one of JSON as others write it.
fn portals(options: &Options) -> Result<Vec<Portal>, RequestError> {
    let mut portals: Vec<_> = parsed(options, TARGET_PORTAL, Portal::parse)?.into_iter().collect();
    for portal in parsed(options, PORTALS, parse_portals)?.unwrap_or_default() {
        if !portals.contains(&portal) {
            portals.push(portal);
        }
    }
    if portals.is_empty() {
        return Err(RequestError::Missing {
            key: TARGET_PORTAL,
            meaning: "the server's name or address, such as \"storage.example\" or \"[fd00::7]:3260\"",
        });
    }
    Ok(portals)
}

fn parse_portals(text: &str) -> Result<Vec<Portal>, String> {
    let words: Vec<String> =
        if text.trim_start().starts_with('[') && text.contains('"') || text.trim() == "[]" {
            serde_json::from_str(text).map_err(|_| "it is no list of texts".to_owned())?
        } else {
            text.split(',').map(|word| word.trim_matches(' ').to_owned()).collect()
        };
    if words.len() > MOST_PORTALS {
        return Err(format!("it names more than {MOST_PORTALS} portals"));
    }
    words.iter().map(|word| Portal::parse(word)).collect()
}

fn authentication(options: &Options) -> Result<Authentication, RequestError> {
    if let Some(value) = options.get(CHAP_DISCOVERY).filter(|value| *value != "false") {
        let why = "this driver makes no discovery: leave it out".to_owned();
        return Err(refused(CHAP_DISCOVERY, value, why));
    }
    let parse = |text: &str| match text {
        "true" => Ok(Authentication::Required),
        "false" => Ok(Authentication::Off),
        _ => Err("it is \"true\" or \"false\"".to_owned()),
    };
    Ok(parsed(options, CHAP, parse)?.unwrap_or(Authentication::Possible))
}

fn parse_wwid(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= LONGEST_WWID && !text.contains(char::is_control);
    let is_known = ["naa.", "eui.", "t10."].iter().any(|kind| text.starts_with(kind));
    if fits && is_known {
        return Ok(text.trim_end_matches(' ').to_owned());
    }
    Err("it is what the file `device/wwid` of the disk in /sys/block says: naa., eui. or t10. and more"
        .to_owned())
}

fn parse_fencing(text: &str) -> Result<Fencing, String> {
    match text {
        "auto" => Ok(Fencing::Possible),
        "required" => Ok(Fencing::Required),
        "off" => Ok(Fencing::Off),
        _ => Err("it is \"auto\", \"required\" or \"off\"".to_owned()),
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = text.parse().ok().filter(|seconds| digits && (5..=LONGEST_TIMEOUT).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| format!("it is a number of seconds from 5 to {LONGEST_TIMEOUT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 3] = [("targetPortal", "s"), ("iqn", "iqn.2026-01.test:a"), ("lun", "1")];

    fn read(more: &[(&str, &str)]) -> Result<IscsiRequest, String> {
        let all = GOOD.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut user: std::collections::BTreeMap<_, _> = all.collect();
        user.retain(|_, value| value != "-");
        IscsiRequest::read(
            &Options { user, volume_name: "pv".to_owned(), ..Options::default() },
            Sharing::Initiator,
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn little_has_to_be_said() {
        let request = read(&[]).unwrap();
        assert_eq!(request.target.to_string(), "LUN 1 of iqn.2026-01.test:a");
        assert_eq!((request.fencing, request.authentication), (Fencing::Possible, Authentication::Possible));
        assert_eq!(request.reconnect_timeout, Duration::from_secs(120));
    }

    #[test]
    fn portals_are_a_list_of_either_kind() {
        for text in ["s, [fd00::1]:7,10.0.0.1", r#"["s","[fd00::1]:7","10.0.0.1"]"#] {
            let portals = read(&[("portals", text)]).unwrap().portals;
            let portals: Vec<_> = portals.iter().map(ToString::to_string).collect();
            assert_eq!(portals, ["s:3260", "[fd00::1]:7", "10.0.0.1:3260"]);
        }
        assert_eq!(read(&[("portals", "[]")]).unwrap().portals.len(), 1);
        assert_eq!(read(&[("targetPortal", "-"), ("portals", "[fd00::1]")]).unwrap().portals.len(), 1);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_the_name_of_the_option() {
        let many = ["s"; 9].join(",");
        for (key, value, text) in [
            ("targetPortal", "-", "\"targetPortal\" is required"),
            ("iqn", "-", "\"iqn\" is required"),
            ("lun", "-", "\"lun\" is required"),
            ("targetPortal", "a\nb", "\"targetPortal\""),
            ("targetPortal", "a,b", "\"targetPortal\""),
            ("targetPortal", "a\0", "\"targetPortal\""),
            ("targetPortal", "a:65536", "from 1 to 65535"),
            ("portals", "a,,b", "\"portals\""),
            ("portals", "a\n", "\"portals\""),
            ("portals", "[\"a\",7]", "\"portals\""),
            ("portals", &many, "more than 8"),
            ("iqn", "disk", "year, month"),
            ("iqn", "iqn.2026-01.test:a\nx", "letters, digits"),
            ("iqn", "iqn.2026-01.test:a,b", "letters, digits"),
            ("lun", "70000", "from 0 to 16383"),
            ("lun", "1\n", "from 0 to 16383"),
            ("initiatorName", "iqn.2026-01.test:a\0", "\"initiatorName\""),
            ("chapAuthSession", "yes", "\"true\" or \"false\""),
            ("chapAuthDiscovery", "true", "no discovery"),
            ("wwid", "6001405", "device/wwid"),
            ("wwid", "naa.6\n", "device/wwid"),
            ("reservation", "on", "\"auto\""),
            ("reconnectTimeout", "4", "from 5"),
            ("reconnectTimeout", "+9", "from 5"),
            ("mountOptions", "suid", "nosuid and nodev"),
            ("format", "yes", "\"new\""),
            ("targetPortl", "x", "did you mean \"targetPortal\"?"),
        ] {
            let error = read(&[(key, value)]).unwrap_err();
            assert!(error.contains(text), "{key}={value:?}: {error}");
        }
    }
}
