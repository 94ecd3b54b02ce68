//! Flags of `flexvol agent`.

use std::path::PathBuf;

use clap::Args;
use flexvolume_host::reconcile::Bounds;

#[derive(Debug, Args)]
#[command(after_help = "\
The directory holds the manifests of pods and of what they refer to, *.yaml, *.yml and *.json. As long as a pod is in
one of them its volumes are mounted below --root; when it is gone they are unmounted. A file that is invalid, empty or
only half written changes nothing until it is in order again or removed.

When the agent ends, by a signal or a crash, all volumes stay mounted; the next one goes on where it stopped.

Examples:
  flexvol agent --manifests /etc/flexvol/manifests
  flexvol agent --manifests ./pods --root ./node --plugin-dir ./plugins -v")]
pub(crate) struct AgentArguments {
    /// Directory of manifests
    #[arg(long, value_name = "DIR", env = "FLEXVOL_MANIFESTS")]
    pub(crate) manifests: PathBuf,
    /// So many operations at a time for one driver
    #[arg(long, value_name = "COUNT", default_value_t = Bounds::default().per_driver)]
    pub(crate) per_driver: usize,
    /// So many operations at a time in all, without those that take more than 10 s
    #[arg(long, value_name = "COUNT", default_value_t = Bounds::default().overall)]
    pub(crate) parallel: usize,
}

impl AgentArguments {
    /// How much is done at a time.
    pub(crate) fn bounds(&self) -> Bounds {
        let (per_driver, overall) = (self.per_driver.max(1), self.parallel.max(1));
        Bounds { per_driver, overall, ..Bounds::default() }
    }
}
