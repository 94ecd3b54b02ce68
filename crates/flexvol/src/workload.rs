//! The manifests of a command, read and checked against the drivers that are there.

use std::path::PathBuf;

use flexvolume_host::Reading;
use flexvolume_host::nearest::nearest;
use flexvolume_host::registry::RegistryError;

use crate::failure::{BAD_INPUT, Failure, NOT_FOUND, STEP_FAILED};
use crate::manifest::read;
use crate::manifest::read::Document;
use crate::manifest::resolve::{PodPlan, Workload, workload};
use crate::session::Session;

/// Reads the documents of all files.
///
/// # Errors
/// Every file that cannot be read.
pub(crate) fn documents(files: &[PathBuf]) -> Result<Vec<Document>, Failure> {
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    for file in files {
        match read::documents(file) {
            Ok(mut found) => documents.append(&mut found),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(documents) } else { Err(errors.into()) }
}

/// Reads and resolves the manifests; there must be a pod in them.
///
/// # Errors
/// Every error of the manifests.
pub(crate) fn load(files: &[PathBuf], reading: Reading) -> Result<Workload, Failure> {
    let workload = workload(&documents(files)?, reading)?;
    for object in &workload.ignored {
        tracing::info!("left alone: {object}");
    }
    for plan in &workload.pods {
        for (name, kind) in &plan.other_volumes {
            tracing::info!(pod = plan.pod.name, "left alone: volume {name} ({kind})");
        }
    }
    if workload.pods.is_empty() {
        return Err(no_pod());
    }
    Ok(workload)
}

pub(crate) fn no_pod() -> Failure {
    Failure::says(BAD_INPUT, "no Pod in the given manifests: a volume is mounted for a pod, so add one (-f)")
}

/// Looks every driver of a pod up before anything is done.
///
/// # Errors
/// The drivers that are not there, or not usable.
pub(crate) fn check_drivers(session: &Session, plan: &PodPlan) -> Result<(), Failure> {
    let mut failure = Failure { code: STEP_FAILED, lines: Vec::new() };
    for volume in &plan.volumes {
        let Err(error) = session.registry.find_by_spec(&volume.spec) else { continue };
        if matches!(error, RegistryError::NotFound { .. }) {
            failure.code = NOT_FOUND;
        }
        let words = remedy(&error);
        failure.lines.push(match plan.drivers.get(&volume.pod_volume) {
            Some(place) => format!("{place}: {words}"),
            None => words,
        });
    }
    if failure.lines.is_empty() { Ok(()) } else { Err(failure) }
}

/// The words for a driver that is not there: what is, what may have been meant, what to do.
pub(crate) fn remedy(error: &RegistryError) -> String {
    let RegistryError::NotFound { name, installed, .. } = error else { return error.to_string() };
    let installed_names = if installed.is_empty() { "none".to_owned() } else { installed.join(", ") };
    let hint = match nearest(name, installed.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!(
            "install it (`flexvol driver install FILE --name {name}`) or say where it is (--plugin-dir DIR)"
        ),
    };
    format!("there is no driver {name:?} (installed: {installed_names}); {hint}")
}
