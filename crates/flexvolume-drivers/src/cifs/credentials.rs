//! Who asks: a user of the server, or nobody.

use flexvolume::{Options, Secret};
use flexvolume_os::network_mount::{Setting, SettingError};

use super::request::refuse;
use crate::error::RequestError;
use crate::network::Given;

const USER: &str = "username";
const PASSWORD: &str = "password";
const DOMAIN: &str = "domain";

/// Who asks the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Nobody in particular; the share must be open to guests.
    Guest,
    /// A user with a password.
    User { name: Secret, password: Secret, domain: Option<Secret> },
    /// Whoever has a Kerberos ticket on this node.
    Ticket { name: Option<Secret>, domain: Option<Secret> },
}

impl Credentials {
    /// From the Secret; takes `guest` and `domain` out of the mount options.
    pub(super) fn read(options: &Options, given: &mut Given) -> Result<Self, RequestError> {
        let (name, password) = (secret(options, USER)?, secret(options, PASSWORD)?);
        let domain = domain(options, given)?;
        let ticket = given
            .settings
            .get("sec")
            .is_some_and(|sec| sec.as_deref().is_some_and(|sec| sec.starts_with("krb5")));
        if given.take("guest").is_some() {
            if name.is_some() || password.is_some() {
                return Err(refuse("guest", "true", "the Secret names a user: leave one of the two out"));
            }
            return Ok(Self::Guest);
        }
        if ticket {
            return Ok(Self::Ticket { name, domain });
        }
        match (name, password) {
            (Some(name), Some(password)) => Ok(split(name, password, domain)),
            (None, None) => Err(RequestError::Secret {
                key: USER.to_owned(),
                why: "is missing: name a Secret with \"username\" and \"password\" in `secretRef`, or set the option \"guest\" to \"true\"",
            }),
            (name, _) => Err(RequestError::Secret {
                key: if name.is_some() { PASSWORD } else { USER }.to_owned(),
                why: "is missing or empty",
            }),
        }
    }

    /// As the kernel takes them.
    pub(super) fn settings(&self) -> Result<Vec<Setting>, SettingError> {
        let (name, password, domain) = match self {
            // An empty name is what the kernel knows a guest by.
            Self::Guest => return Ok(vec![Setting::text(USER, "")?, Setting::text(PASSWORD, "")?]),
            Self::User { name, password, domain } => (Some(name), Some(password), domain),
            Self::Ticket { name, domain } => (name.as_ref(), None, domain),
        };
        let all = [(USER, name), (PASSWORD, password), (DOMAIN, domain.as_ref())];
        all.into_iter().filter_map(|(key, value)| Some(Setting::secret(key, value?.expose()))).collect()
    }

    /// Whom the server takes us for, to be shown and recorded: a user's name came in a Secret and stays there.
    pub(super) fn who(&self) -> &'static str {
        match self {
            Self::Guest => "a guest",
            Self::User { .. } => "the user of the Secret",
            Self::Ticket { .. } => "the owner of this node's ticket",
        }
    }
}

/// `DOMAIN\user`, unless the domain is given: no account of a server has a backslash in its name.
fn split(name: Secret, password: Secret, domain: Option<Secret>) -> Credentials {
    let backslash = name.expose().iter().position(|byte| *byte == b'\\');
    if let (None, Some(position)) = (&domain, backslash) {
        let (before, after) = (&name.expose()[..position], &name.expose()[position + 1..]);
        if !before.is_empty() && !after.is_empty() {
            let (name, domain) = (Secret::new(after), Some(Secret::new(before)));
            return Credentials::User { name, password, domain };
        }
    }
    Credentials::User { name, password, domain }
}

/// Any bytes but those that end a line or a string.
fn secret(options: &Options, key: &'static str) -> Result<Option<Secret>, RequestError> {
    let Some(secret) = options.secrets.get(key).filter(|secret| !secret.expose().is_empty()) else {
        return Ok(None);
    };
    let wrong = |why| Err(RequestError::Secret { key: key.to_owned(), why });
    if secret.expose().contains(&0) {
        return wrong("has a NUL byte, with which the kernel would end it");
    }
    if secret.expose().iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return wrong(
            "has a line break, mostly one that `echo` has put at its end: use `echo -n` or `stringData`",
        );
    }
    Ok(Some(secret.clone()))
}

/// From the Secret, or from the options, where other drivers have it.
fn domain(options: &Options, given: &mut Given) -> Result<Option<Secret>, RequestError> {
    let from_options = given.take(DOMAIN).flatten();
    match (secret(options, DOMAIN)?, from_options) {
        (Some(secret), Some(option)) if secret.expose() != option.as_bytes() => {
            Err(refuse(DOMAIN, &option, "the Secret names another one"))
        }
        (Some(secret), _) => Ok(Some(secret)),
        (None, option) => Ok(option.map(Secret::new)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &[u8])], words: &[(&str, Option<&str>)]) -> Result<Credentials, String> {
        let secrets = pairs.iter().map(|(key, value)| ((*key).to_owned(), Secret::new(*value))).collect();
        let options = Options { secrets, ..Options::default() };
        let settings =
            words.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
        let mut given = Given { settings, ..Given::default() };
        let read = Credentials::read(&options, &mut given).map_err(|error| error.to_string());
        assert!(!given.settings.contains_key("guest") && !given.settings.contains_key("domain"));
        read
    }

    #[test]
    fn any_byte_may_be_in_a_name_and_a_password() {
        for (name, password) in [
            (&b"u,file_mode=0777"[..], &b"p,a\"s'`s wo=rd\\x,,"[..]),
            (b"\xff\x01", b" \t\x7f\x80"),
            (b"name@example.com", b"%$!#"),
        ] {
            let credentials = read(&[("username", name), ("password", password)], &[]).unwrap();
            let settings = credentials.settings().unwrap();
            let wanted =
                [Setting::secret("username", name).unwrap(), Setting::secret("password", password).unwrap()];
            assert_eq!(settings, wanted);
            assert!(!format!("{credentials:?} {settings:?}").contains("wo=rd"));
        }
    }

    #[test]
    fn a_domain_comes_from_the_secret_the_options_or_the_name() {
        let domain = |pairs: &[(&str, &[u8])], words: &[(&str, Option<&str>)]| {
            let all = [&[("username", &b"u"[..]), ("password", b"p")], pairs].concat();
            match read(&all, words) {
                Ok(Credentials::User { domain, .. }) => domain.map(|domain| domain.expose().to_vec()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(domain(&[], &[]), None);
        assert_eq!(domain(&[("domain", b"D")], &[("domain", Some("D"))]), Some(b"D".to_vec()));
        assert_eq!(domain(&[], &[("domain", Some("D"))]), Some(b"D".to_vec()));
        assert_eq!(domain(&[("username", br"D\u")], &[]), Some(b"D".to_vec()));
        let both =
            read(&[("username", b"u"), ("password", b"p"), ("domain", b"D")], &[("domain", Some("E"))]);
        assert!(both.unwrap_err().contains("another one"));
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        for (pairs, words, part) in [
            (&[][..], &[][..], "\"guest\""),
            (&[("username", &b"u"[..])], &[], "\"password\""),
            (&[("password", b"p")], &[], "\"username\""),
            (&[("username", b"u"), ("password", b"")], &[], "empty"),
            (&[("user", b"u"), ("password", b"p")], &[], "\"username\""),
            (&[("username", b"u"), ("password", b"hunter2\n")], &[], "line break"),
            (&[("username", b"u"), ("password", b"hun\0ter2")], &[], "NUL"),
            (&[("username", b"u"), ("password", b"p")], &[("guest", None)], "leave one"),
        ] {
            let error = read(pairs, words).unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
        assert_eq!(read(&[], &[("guest", None)]), Ok(Credentials::Guest));
        assert!(matches!(read(&[], &[("sec", Some("krb5"))]), Ok(Credentials::Ticket { .. })));
        let long = read(&[("username", b"u"), ("password", &[b'x'; 256])], &[]).unwrap();
        assert!(long.settings().unwrap_err().to_string().contains("at most 255"));
    }
}
