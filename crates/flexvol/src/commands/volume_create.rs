//! `flexvol volume create` and `flexvol volume snapshot`.

use flexvolume_host::contract::{Options, VolumeDescription};

use super::volume_show::text;
use crate::administration::{Subject, failed, named};
use crate::args::{Global, VolumeCreateArguments, VolumeSnapshotArguments};
use crate::failure::{BAD_INPUT, Failure, OK};
use crate::secrets::ManifestSecrets;
use crate::session::Session;

pub(super) fn run(global: &Global, arguments: &VolumeCreateArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let subject = Subject::new(&session, &arguments.pool)?;
    let mut options = subject.named(named(&arguments.volume)?);
    if options.fs_type.is_empty() {
        options.fs_type.clone_from(&arguments.fs_type);
    }
    if let Some(size) = arguments.size {
        let size = size.to_string();
        if let Some(other) =
            options.user.insert("size".to_owned(), size.clone()).filter(|other| *other != size)
        {
            let words = format!("two sizes are given: --size {size} and size={other}");
            return Err(Failure::says(BAD_INPUT, words));
        }
    }
    create(&session, &subject, options)
}

/// A copy: the properties of its source, where the command line does not say otherwise.
pub(super) fn snapshot(global: &Global, arguments: &VolumeSnapshotArguments) -> Result<u8, Failure> {
    let session = Session::new(global, ManifestSecrets::default())?;
    let subject = Subject::new(&session, &arguments.pool)?;
    let source = subject.one(&arguments.volume)?;
    let copy = named(&arguments.copy)?;
    let options = Options { volume_name: copy.to_owned(), ..of_copy(&source, &subject.options) };
    create(&session, &subject, options)
}

fn of_copy(source: &VolumeDescription, said: &Options) -> Options {
    let mut options = Options { fs_type: source.fs_type.clone(), ..said.clone() };
    for (key, value) in &source.options {
        // The one that names the source would make the copy the source.
        if *value != source.id {
            options.user.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    options.user.insert("source".to_owned(), source.id.clone());
    options
}

fn create(session: &Session, subject: &Subject, options: Options) -> Result<u8, Failure> {
    let made = subject.plugin.create_volume(options).map_err(failed)?;
    session.output.print(&made, text)?;
    Ok(OK)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_copy_has_the_properties_of_its_source_but_not_its_name() {
        let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let source = VolumeDescription {
            id: "notes".to_owned(),
            fs_type: "xfs".to_owned(),
            options: pairs(&[
                ("size", "1Gi"),
                ("allocation", "thin"),
                ("volume", "notes"),
                ("volumeID", "notes"),
            ]),
            ..VolumeDescription::default()
        };
        let said = Options { user: pairs(&[("size", "2Gi")]), ..Options::default() };
        let options = of_copy(&source, &said);
        assert_eq!(options.fs_type, "xfs");
        assert_eq!(options.user, pairs(&[("size", "2Gi"), ("allocation", "thin"), ("source", "notes")]));
    }
}
