//! Whether a volume outlives the pod that uses it: each driver has one answer, and a manifest may say which it counts on.

use flexvolume::Options;

use crate::error::RequestError;

/// The option, of all drivers that make volumes.
pub(crate) const DELETE_POLICY: &str = "deletePolicy";

/// What becomes of a volume when nobody uses it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeletePolicy {
    /// It stays until an administrator deletes it.
    Retain,
    /// It goes with the pod that it was made for.
    Delete,
}

impl DeletePolicy {
    fn as_str(self) -> &'static str {
        match self {
            DeletePolicy::Retain => "retain",
            DeletePolicy::Delete => "delete",
        }
    }

    /// What whoever asked for the other one should do.
    fn instead(self) -> &'static str {
        match self {
            DeletePolicy::Retain => {
                "this driver never removes a volume by itself: `deletevolume` (`flexvol volume delete`) does, and the driver \
                 of the same name with `-ephemeral` behind it removes a volume with its pod"
            }
            DeletePolicy::Delete => {
                "this driver removes a volume with its pod: the driver of the same name without `-ephemeral` keeps it"
            }
        }
    }

    /// Refuses options that count on another policy than this one, which is the driver's.
    pub(crate) fn agrees(self, options: &Options) -> Result<(), RequestError> {
        let Some(text) = options.get(DELETE_POLICY) else { return Ok(()) };
        if text == self.as_str() {
            return Ok(());
        }
        let is_one =
            [DeletePolicy::Retain, DeletePolicy::Delete].iter().any(|policy| policy.as_str() == text);
        let why = if is_one { self.instead() } else { "it is \"retain\" or \"delete\"" };
        Err(RequestError::Value { key: DELETE_POLICY, value: text.to_owned(), why: why.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Options {
        Options { user: [(DELETE_POLICY.to_owned(), text.to_owned())].into(), ..Options::default() }
    }

    #[test]
    fn nothing_said_and_the_drivers_own_policy_are_accepted() {
        for policy in [DeletePolicy::Retain, DeletePolicy::Delete] {
            policy.agrees(&Options::default()).unwrap();
            policy.agrees(&said(policy.as_str())).unwrap();
        }
    }

    #[test]
    fn a_policy_that_the_driver_does_not_have_names_the_way_to_it() {
        let error = DeletePolicy::Retain.agrees(&said("delete")).unwrap_err().to_string();
        assert!(error.contains("deletePolicy") && error.contains("flexvol volume delete"), "{error}");
        let error = DeletePolicy::Delete.agrees(&said("retain")).unwrap_err().to_string();
        assert!(error.contains("without `-ephemeral`"), "{error}");
    }

    #[test]
    fn another_word_is_refused_with_those_that_there_are() {
        for text in ["Retain", "keep", "delete "] {
            let error = DeletePolicy::Retain.agrees(&said(text)).unwrap_err().to_string();
            assert!(error.contains("\"retain\" or \"delete\""), "{text:?}: {error}");
        }
    }
}
