//! Is all that the driver needs on this node there, and what does a server offer?

use std::net::{IpAddr, TcpStream};
use std::time::{Duration, SystemTime};

use flexvolume::{Finding, Options};
use flexvolume_os::reach::{self, Host};
use flexvolume_os::tools::{CIFS_UPCALL, MOUNT_CIFS, REQUEST_KEY, Tool};

use super::negotiate::{self, Dialect, Encryption, NegotiateError, Offer, Signing};
use super::request::{CONNECTING, KEYS, NAMING, PORT};
use crate::error::RequestError;
use crate::network::{Result, module, port};
use crate::request::refuse_unknown;

/// How long each answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// What Kerberos allows clocks to differ.
const MOST_SKEW: Duration = Duration::from_secs(300);
/// Less than this may be due to the way that the answer took.
const LEAST_SKEW: Duration = Duration::from_secs(3);

/// Everything that can be looked at; the options `address` (or those that name a share) and `port` name the server.
pub(super) fn diagnose(options: &Options) -> Result<Vec<Finding>> {
    let mut known = KEYS.to_vec();
    known.push("address");
    refuse_unknown(options, &known)?;
    let mut findings = vec![kernel(), helper(), kerberos()];
    match host(options)? {
        None => {
            findings.push(Finding::good("server", "none was named: `flexvol doctor cifs ADDRESS` asks one"));
        }
        Some(host) => findings.extend(server(&host, port(options, PORT)?)),
    }
    Ok(findings)
}

fn kernel() -> Finding {
    let subject = "kernel, file system cifs";
    module(subject, "cifs", |what| {
        Finding::problem(subject, what, "install the kernel's modules, or use a kernel with SMB")
    })
}

fn helper() -> Finding {
    let tool = MOUNT_CIFS;
    let place = if tool.find().is_some() { "is installed, and" } else { "is not installed;" };
    Finding::good("mount.cifs", format!("{place} not needed: the driver speaks to the kernel itself"))
}

fn kerberos() -> Finding {
    let subject = "Kerberos (sec=krb5) and DFS links";
    let missing = |tool: Tool| tool.find().is_none().then_some(tool);
    match missing(CIFS_UPCALL).or(missing(REQUEST_KEY)) {
        None => Finding::good(subject, "cifs.upcall and request-key are there"),
        Some(tool) => Finding::warning(
            subject,
            format!("{} is not installed", tool.name),
            format!("nothing else needs it: install the package {}", tool.package),
        ),
    }
}

/// The server that the options name, in whichever way.
fn host(options: &Options) -> std::result::Result<Option<Host>, RequestError> {
    let keys = ["address", "server", "networkPath", "source"];
    let Some((key, text)) = keys.iter().find_map(|key| Some((*key, options.get(key)?))) else {
        return Ok(None);
    };
    // `//server/share` is as good as `server`.
    let slashes = text.replace('\\', "/");
    let name = slashes.trim_start_matches('/').split('/').next().unwrap_or_default();
    let wrong = |why: String| RequestError::Value { key, value: text.to_owned(), why };
    Host::parse(name).map(Some).map_err(|error| wrong(error.to_string()))
}

fn server(host: &Host, port: u16) -> Vec<Finding> {
    let subject = format!("server {host}");
    let problem = |cause: String, remedy: &str| vec![Finding::problem(&*subject, cause, remedy)];
    let addresses = match host.resolve(NAMING) {
        Ok(addresses) => addresses,
        Err(error) => return problem(error.to_string(), "correct the name or the node's DNS"),
    };
    let address = match reach::connect(&addresses, port, CONNECTING).map(|stream| stream.peer_addr()) {
        Ok(Ok(peer)) => peer.ip(),
        Ok(Err(error)) => return problem(error.to_string(), "try again"),
        Err(error) => return problem(error.to_string(), "start the server, or correct the address"),
    };
    let shown: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    let mut findings = vec![Finding::good(&*subject, format!("{} answers on port {port}", shown.join(", ")))];
    match offers(address, port) {
        Ok(offers) => findings.extend(about(&subject, &offers)),
        Err(error) => {
            let remedy = "is it an SMB server, and has it started?";
            findings.push(Finding::problem(&*subject, error.to_string(), remedy));
        }
    }
    findings
}

/// What it offers for each dialect that it has, the best one first.
fn offers(address: IpAddr, port: u16) -> std::result::Result<Vec<Offer>, NegotiateError> {
    let ask = |dialects: &[Dialect]| {
        let stream = reach::connect(&[address], port, CONNECTING);
        let mut stream: TcpStream = stream.map_err(|_| NegotiateError::NotSmb)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        negotiate::ask(&mut stream, dialects)
    };
    let best = ask(&Dialect::ALL)?;
    let mut offers = vec![best];
    for dialect in Dialect::ALL {
        if offers.first().is_some_and(|best| best.dialect > dialect) {
            // One that is not spoken is refused, in whatever way.
            offers.extend(ask(&[dialect]));
        }
    }
    Ok(offers)
}

fn about(subject: &str, offers: &[Offer]) -> Vec<Finding> {
    let Some(best) = offers.first() else { return Vec::new() };
    let spoken: Vec<_> = offers.iter().map(|offer| offer.dialect.as_str()).collect();
    let what = format!("it speaks the versions {}", spoken.join(", "));
    let versions = if best.dialect >= Dialect::V2_1 {
        Finding::good(subject, what)
    } else {
        Finding::problem(subject, what, "the driver needs 2.1 or later: enable it on the server")
    };
    let signing = Finding::good(
        subject,
        match best.signing {
            Signing::Required => "every message must be signed, which the kernel does by itself",
            Signing::Possible => "messages are signed if \"sign\" is among the mount options",
        },
    );
    let encryption = match best.encryption {
        Encryption::Possible => Finding::good(subject, "it can encrypt (option \"seal\": \"true\")"),
        Encryption::Impossible => Finding::warning(
            subject,
            "it cannot encrypt: what is read and written can be seen on the network",
            "enable version 3 with encryption on the server; without it \"seal\" fails",
        ),
    };
    vec![versions, signing, encryption, clock(subject, best.time, SystemTime::now())]
}

fn clock(subject: &str, theirs: Option<SystemTime>, ours: SystemTime) -> Finding {
    let Some(theirs) = theirs else {
        return Finding::good(subject, "it does not tell the time");
    };
    let (skew, which) = match theirs.duration_since(ours) {
        Ok(skew) => (skew, "ahead of"),
        Err(error) => (error.duration(), "behind"),
    };
    let what = format!("its clock is {} s {which} this node's", skew.as_secs());
    if skew < LEAST_SKEW {
        Finding::good(subject, "its clock and this node's agree")
    } else if skew < MOST_SKEW {
        Finding::good(subject, what)
    } else {
        let remedy =
            "set the clocks: Kerberos refuses more than five minutes, and some servers do with passwords";
        Finding::warning(subject, what, remedy)
    }
}

#[cfg(test)]
mod tests {
    use flexvolume::Severity;

    use super::*;

    #[test]
    fn clocks_may_differ_by_five_minutes() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        for (theirs, severity, part) in [
            (now + Duration::from_secs(1), Severity::Good, "agree"),
            (now + Duration::from_secs(60), Severity::Good, "60 s ahead"),
            (now - Duration::from_secs(60), Severity::Good, "60 s behind"),
            (now - Duration::from_secs(3600), Severity::Warning, "3600 s behind"),
        ] {
            let finding = clock("server", Some(theirs), now);
            assert_eq!(finding.severity, severity);
            assert!(finding.what.contains(part), "{finding:?}");
        }
        assert!(clock("server", None, now).what.contains("does not tell"));
    }

    #[test]
    fn an_old_server_is_a_problem_and_one_that_cannot_encrypt_a_warning() {
        let offer =
            |dialect, encryption| Offer { dialect, signing: Signing::Required, encryption, time: None };
        let about_old = about("server", &[offer(Dialect::V2_0_2, Encryption::Impossible)]);
        assert_eq!((about_old[0].severity, about_old[2].severity), (Severity::Problem, Severity::Warning));
        let offers =
            [offer(Dialect::V3_1_1, Encryption::Possible), offer(Dialect::V2_1, Encryption::Impossible)];
        let about_new = about("server", &offers);
        assert!(about_new.iter().all(|finding| finding.severity == Severity::Good), "{about_new:?}");
        assert!(about_new[0].what.contains("3.1.1, 2.1"), "{about_new:?}");
    }

    #[test]
    fn a_share_names_a_server_as_well_as_its_address_does() {
        let named = |key: &str, value: &str| {
            let user = [(key.to_owned(), value.to_owned())].into();
            host(&Options { user, ..Options::default() }).map(|host| host.map(|host| host.to_string()))
        };
        assert_eq!(named("address", "fd00::1"), Ok(Some("[fd00::1]".to_owned())));
        assert_eq!(named("networkPath", "//files/data"), Ok(Some("files".to_owned())));
        assert_eq!(named("address", r"\\files"), Ok(Some("files".to_owned())));
        assert_eq!(named("seal", "true"), Ok(None));
        assert!(named("address", "a b").is_err());
    }
}
