//! Tensors of a Hugging Face folder: `model.safetensors`, or shards named by `model.safetensors.index.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensors};

use super::{LoadError, Rows, Tensors};

/// One mapped file.
struct Shard {
    path: PathBuf,
    bytes: Mmap,
    metadata: Metadata,
    /// Where the data section starts.
    data: usize,
}

/// The mapped files of a folder.
pub(crate) struct Folder {
    path: PathBuf,
    shards: Vec<Shard>,
    /// Tensor name -> shard.
    index: BTreeMap<String, usize>,
}

impl Folder {
    /// Maps the folder's files and reads their directories.
    pub(crate) fn open(path: &Path) -> Result<Folder, LoadError> {
        let (single, list) = (path.join("model.safetensors"), path.join("model.safetensors.index.json"));
        let mut folder = Folder { path: path.to_owned(), shards: Vec::new(), index: BTreeMap::new() };
        if single.exists() {
            folder.add(&single)?;
        } else if list.exists() {
            folder.open_shards(&list)?;
        } else {
            let why = "a model folder holds it, or model.safetensors.index.json and its shards".to_owned();
            return Err(LoadError::FileMissing { path: single, why });
        }
        Ok(folder)
    }

    fn open_shards(&mut self, list: &Path) -> Result<(), LoadError> {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let text = std::fs::read_to_string(list).map_err(|source| LoadError::Io { path: list.to_owned(), source })?;
        let index: Index = serde_json::from_str(&text).map_err(|e| LoadError::Damaged { path: list.to_owned(), what: e.to_string() })?;
        let files: std::collections::BTreeSet<&String> = index.weight_map.values().collect();
        for file in files {
            let path = self.path.join(file);
            let plain = Path::new(file).components().count() == 1 && file != "..";
            if !plain {
                return Err(LoadError::Damaged { path: list.to_owned(), what: format!("`{file}` is not a file name") });
            }
            if !path.exists() {
                let why = format!("{} refers to it", list.display());
                return Err(LoadError::FileMissing { path, why });
            }
            self.add(&path)?;
        }
        let absent = index.weight_map.keys().find(|name| !self.index.contains_key(*name));
        match absent {
            Some(name) => Err(LoadError::TensorMissing { path: self.path.join(&index.weight_map[name]), tensor: name.clone() }),
            None => Ok(()),
        }
    }

    fn add(&mut self, path: &Path) -> Result<(), LoadError> {
        let io = |source| LoadError::Io { path: path.to_owned(), source };
        let damaged = |e: safetensors::SafeTensorError| LoadError::Damaged { path: path.to_owned(), what: e.to_string() };
        let file = File::open(path).map_err(io)?;
        // SAFETY: model files are not changed while a worker reads them; if they are, numbers are wrong, which the
        // model digest detects.
        let bytes = unsafe { Mmap::map(&file) }.map_err(io)?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let shard = self.shards.len();
        for name in metadata.tensors().keys() {
            self.index.insert(name.clone(), shard);
        }
        self.shards.push(Shard { path: path.to_owned(), bytes, metadata, data: header + 8 });
        Ok(())
    }

    /// The name under which a tensor is there: with or without `model.` in front.
    fn found<'a>(&self, name: &'a str) -> Option<(&Shard, &'a str)> {
        let bare = name.strip_prefix("model.").unwrap_or(name);
        [name, bare].into_iter().find_map(|n| self.index.get(n).map(|i| (&self.shards[*i], n)))
    }
}

impl Tensors for Folder {
    fn load(&mut self, name: &str, shape: &[usize], _: Rows) -> Result<Vec<f32>, LoadError> {
        let missing = || LoadError::TensorMissing { path: self.path.clone(), tensor: name.to_owned() };
        let (shard, name) = self.found(name).ok_or_else(missing)?;
        let info = shard.metadata.info(name).ok_or_else(missing)?;
        if info.shape != shape {
            return Err(LoadError::Shape {
                path: shard.path.clone(),
                tensor: name.to_owned(),
                expected: shape.to_vec(),
                found: info.shape.clone(),
            });
        }
        let bytes = &shard.bytes[shard.data + info.data_offsets.0..shard.data + info.data_offsets.1];
        Ok(match info.dtype {
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::BF16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            other => {
                let (path, tensor) = (shard.path.clone(), name.to_owned());
                return Err(LoadError::Format { path, tensor, found: format!("{other:?}") });
            }
        })
    }

    fn rope_factors(&mut self) -> Result<Option<Vec<f32>>, LoadError> {
        Ok(None)
    }

    fn not_finite(&self, name: &str) -> LoadError {
        let path = self.found(name).map_or(&self.path, |(shard, _)| &shard.path);
        LoadError::NotFinite { path: path.clone(), tensor: name.to_owned() }
    }
}
