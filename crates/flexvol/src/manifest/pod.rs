//! The fields of a Pod.

use flexvolume_host::spec::FsGroupChangePolicy;

use super::documents::{ObjectName, flag, name_of, text_or};
use super::error::{ManifestError, Problem};
use super::flex::{FlexDocument, flex_document};
use super::node::At;

/// Who a pod is.
pub(super) struct PodIdentity<'a> {
    pub(super) at: At<'a>,
    pub(super) object: ObjectName,
    /// `metadata.uid`, when it stands there.
    pub(super) uid: Option<At<'a>>,
}

impl<'a> PodIdentity<'a> {
    pub(super) fn read(at: At<'a>) -> Result<Self, ManifestError> {
        let object = name_of(&at)?;
        let at = at.in_object(format!("Pod {object}"));
        let uid = at.required("metadata")?.get("uid")?;
        Ok(Self { at, object, uid })
    }
}

/// A pod's spec.
pub(super) struct PodDocument<'a> {
    pub(super) service_account: String,
    pub(super) fs_group: Option<i64>,
    pub(super) fs_group_change_policy: FsGroupChangePolicy,
    pub(super) volumes: Vec<VolumeDocument<'a>>,
    pub(super) containers: Vec<ContainerDocument<'a>>,
}

/// An entry of `spec.volumes`.
pub(super) struct VolumeDocument<'a> {
    pub(super) at: At<'a>,
    pub(super) name: At<'a>,
    pub(super) source: VolumeSource<'a>,
}

pub(super) enum VolumeSource<'a> {
    Flex(FlexDocument<'a>),
    Claim(ClaimUse<'a>),
    /// A kind that flexvol leaves alone, such as `emptyDir`.
    Other(String),
}

/// `persistentVolumeClaim` of a pod.
pub(super) struct ClaimUse<'a> {
    pub(super) at: At<'a>,
    pub(super) name: &'a str,
    pub(super) read_only: bool,
}

/// A container, an init container or an ephemeral one.
pub(super) struct ContainerDocument<'a> {
    pub(super) name: &'a str,
    pub(super) mounts: Vec<MountDocument<'a>>,
    /// Name and value; `None` for a `valueFrom`.
    pub(super) environment: Vec<(&'a str, Option<&'a str>)>,
}

/// An entry of `volumeMounts`.
pub(super) struct MountDocument<'a> {
    pub(super) name: At<'a>,
    pub(super) mount_path: At<'a>,
    pub(super) sub_path: Option<At<'a>>,
    pub(super) read_only: bool,
}

impl<'a> PodDocument<'a> {
    pub(super) fn read(pod: &At<'a>) -> Result<Self, ManifestError> {
        let spec = pod.required("spec")?;
        let (fs_group, fs_group_change_policy) = security_context(&spec)?;
        let mut containers = Vec::new();
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            for container in spec.items(list)? {
                containers.push(container_document(&container)?);
            }
        }
        let account = text_or(&spec, "serviceAccountName", text_or(&spec, "serviceAccount", "default")?)?;
        Ok(Self {
            service_account: account.to_owned(),
            fs_group,
            fs_group_change_policy,
            volumes: spec.items("volumes")?.into_iter().map(volume_document).collect::<Result<_, _>>()?,
            containers,
        })
    }
}

fn security_context(spec: &At<'_>) -> Result<(Option<i64>, FsGroupChangePolicy), ManifestError> {
    let Some(context) = spec.get("securityContext")? else {
        return Ok((None, FsGroupChangePolicy::default()));
    };
    let fs_group = context.get("fsGroup")?.map(|group| group.integer()).transpose()?;
    let policy = match context.get("fsGroupChangePolicy")? {
        None => FsGroupChangePolicy::default(),
        Some(at) => match at.text()? {
            "Always" => FsGroupChangePolicy::Always,
            "OnRootMismatch" => FsGroupChangePolicy::OnRootMismatch,
            other => return Err(at.error(Problem::ChangePolicy(other.to_owned()))),
        },
    };
    Ok((fs_group, policy))
}

fn volume_document(at: At<'_>) -> Result<VolumeDocument<'_>, ManifestError> {
    let name = at.required("name")?;
    name.text()?;
    let mut sources: Vec<_> = at.entries()?.into_iter().filter(|(key, _)| *key != "name").collect();
    if sources.len() > 1 {
        let kinds = sources.into_iter().map(|(kind, _)| kind.to_owned()).collect();
        return Err(at.error(Problem::SeveralSources(kinds)));
    }
    let Some((kind, source)) = sources.pop() else { return Err(at.error(Problem::NoSource)) };
    let source = match kind {
        "flexVolume" => VolumeSource::Flex(flex_document(&source)?),
        "persistentVolumeClaim" => VolumeSource::Claim(ClaimUse {
            name: source.required("claimName")?.text()?,
            read_only: flag(&source, "readOnly")?,
            at: source,
        }),
        other => VolumeSource::Other(other.to_owned()),
    };
    Ok(VolumeDocument { at, name, source })
}

fn container_document<'a>(at: &At<'a>) -> Result<ContainerDocument<'a>, ManifestError> {
    let mut environment = Vec::new();
    for entry in at.items("env")? {
        let name = entry.required("name")?;
        let name = environment_text(&name, &['=', '\0'])?;
        let computed = entry.get("valueFrom")?.is_some();
        environment.push((name, if computed { None } else { Some(environment_value(&entry)?) }));
    }
    let mounts = at.items("volumeMounts")?.iter().map(mount_document).collect::<Result<_, _>>()?;
    Ok(ContainerDocument { name: at.required("name")?.text()?, mounts, environment })
}

fn environment_value<'a>(entry: &At<'a>) -> Result<&'a str, ManifestError> {
    entry.get("value")?.map_or(Ok(""), |value| environment_text(&value, &['\0']))
}

/// What a process can have in its environment.
fn environment_text<'a>(at: &At<'a>, forbidden: &[char]) -> Result<&'a str, ManifestError> {
    let text = at.text()?;
    if text.contains(forbidden) { Err(at.error(Problem::Environment)) } else { Ok(text) }
}

fn mount_document<'a>(at: &At<'a>) -> Result<MountDocument<'a>, ManifestError> {
    if let Some(expression) = at.get("subPathExpr")? {
        return Err(expression.error(Problem::SubPathExpression));
    }
    Ok(MountDocument {
        name: at.required("name")?,
        mount_path: at.required("mountPath")?,
        sub_path: at.get("subPath")?,
        read_only: flag(at, "readOnly")?,
    })
}
