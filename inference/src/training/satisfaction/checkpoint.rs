//! Networks that an interrupted training has finished, so that it can go on instead of starting over.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tch::Device;

use crate::conversation::network::{Network, NetworkSizes};
use crate::error::{Result, read_file, write_whole};
use crate::weights::{StoredTensor, WeightFile, serialize};

const FINGERPRINT_KEY: &str = "contactflow_checkpoint";
const NETWORKS_KEY: &str = "networks";

/// The file of finished networks beside the head file. One of other data or options is passed over.
pub(crate) struct Checkpoint {
    path: Option<PathBuf>,
    fingerprint: String,
    sizes: NetworkSizes,
}

impl Checkpoint {
    /// The checkpoint of a training into `output`; none without one. `fingerprint` is a digest of all that decides
    /// the result.
    pub(crate) fn new(output: Option<&Path>, fingerprint: String, sizes: NetworkSizes) -> Self {
        Self { path: output.map(|path| path.with_extension("checkpoint")), fingerprint, sizes }
    }

    /// The networks that are finished, in order; none when there is no usable file.
    pub(crate) fn load(&self, device: Device) -> Vec<Network> {
        let Some(path) = self.path.as_deref().filter(|path| path.exists()) else { return Vec::new() };
        match self.read(path, device) {
            Ok(Some(networks)) => {
                tracing::info!(path = %path.display(), networks = networks.len(), "training goes on");
                networks
            }
            Ok(None) => {
                tracing::warn!(path = %path.display(), "the checkpoint is of other data or options; starting over");
                Vec::new()
            }
            Err(error) => {
                tracing::warn!(%error, "the checkpoint cannot be read; starting over");
                Vec::new()
            }
        }
    }

    fn read(&self, path: &Path, device: Device) -> Result<Option<Vec<Network>>> {
        let bytes = read_file(path, "an interrupted training left it")?;
        let file = WeightFile::parse(path, &bytes)?;
        if file.metadata(FINGERPRINT_KEY)? != self.fingerprint {
            return Ok(None);
        }
        let count = file.metadata(NETWORKS_KEY)?.parse().unwrap_or(0);
        let network = |index: usize| {
            let read = |(name, shape): (&str, Vec<i64>)| file.tensor(&[&format!("{index}.{name}")], &shape, device);
            Network::new(self.sizes, self.sizes.parameters().into_iter().map(read).collect::<Result<_>>()?)
        };
        (0..count).map(network).collect::<Result<Vec<Network>>>().map(Some)
    }

    /// Writes the finished networks, without loss.
    pub(crate) fn save(&self, networks: &[Network]) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let names = self.sizes.parameters();
        let mut stored = Vec::new();
        for (index, network) in networks.iter().enumerate() {
            for ((name, _), parameter) in names.iter().zip(network.parameters()) {
                stored.push(StoredTensor::float(&format!("{index}.{name}"), parameter)?);
            }
        }
        let metadata = HashMap::from([
            (FINGERPRINT_KEY.to_owned(), self.fingerprint.clone()),
            (NETWORKS_KEY.to_owned(), networks.len().to_string()),
        ]);
        write_whole(path, &serialize(stored, metadata)?)
    }

    /// Removes the file: the training is done.
    pub(crate) fn remove(&self) {
        if let Some(path) = &self.path
            && let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "the checkpoint could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::network::tests::network;
    use crate::weights::values;

    #[test]
    fn finished_networks_come_back_bit_for_bit_unless_something_else_is_trained() {
        let folder = tempfile::tempdir().expect("folder");
        let output = folder.path().join("head.safetensors");
        let sizes = NetworkSizes { input: 7, hidden: 3 };
        let checkpoint = Checkpoint::new(Some(&output), "a".to_owned(), sizes);
        assert!(checkpoint.load(Device::Cpu).is_empty());
        checkpoint.save(&[network(sizes), network(sizes)]).expect("saves");
        let found = checkpoint.load(Device::Cpu);
        assert_eq!(found.len(), 2);
        for (a, b) in found[1].parameters().iter().zip(network(sizes).parameters()) {
            assert_eq!(values(a).expect("values"), values(b).expect("values"));
        }
        assert!(Checkpoint::new(Some(&output), "b".to_owned(), sizes).load(Device::Cpu).is_empty());
        std::fs::write(folder.path().join("head.checkpoint"), "damaged").expect("write");
        assert!(checkpoint.load(Device::Cpu).is_empty(), "a damaged file costs time, not the result");
        checkpoint.remove();
        assert!(!folder.path().join("head.checkpoint").exists());
    }
}
