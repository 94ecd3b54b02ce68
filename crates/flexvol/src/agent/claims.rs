//! Which files ask for which pod.

use std::collections::BTreeMap;

use flexvolume_host::contract::PodUid;

/// The files that ask for each pod: one, unless somebody has made a mistake.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<PodUid, Vec<String>>);

impl Claims {
    /// The file asks for these pods.
    pub(super) fn make(&mut self, file: &str, pods: impl IntoIterator<Item = PodUid>) {
        for pod in pods {
            let files = self.0.entry(pod).or_insert_with(|| Vec::with_capacity(1));
            if !files.iter().any(|known| known == file) {
                files.push(file.to_owned());
            }
        }
    }

    /// The file asks for these pods no longer.
    pub(super) fn give_up(&mut self, file: &str, pods: impl IntoIterator<Item = PodUid>) {
        for pod in pods {
            if let Some(files) = self.0.get_mut(&pod) {
                files.retain(|known| known != file);
                if files.is_empty() {
                    self.0.remove(&pod);
                }
            }
        }
    }

    /// The files that ask for a pod.
    pub(super) fn of(&self, pod: &PodUid) -> Option<&Vec<String>> {
        self.0.get(pod)
    }

    /// The pods that several files ask for.
    pub(super) fn disputed(&self) -> impl Iterator<Item = (&PodUid, &Vec<String>)> {
        self.0.iter().filter(|(_, files)| files.len() > 1)
    }
}
