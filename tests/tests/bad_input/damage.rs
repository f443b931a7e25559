//! A copy of the smallest shipped model, to be damaged.

use std::path::PathBuf;

use limbic_tests::Sandbox;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

/// One tensor of a model.
pub struct Tensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// A model in a sandbox, and a small spec that names it.
pub struct Model {
    pub folder: PathBuf,
}

impl Model {
    pub fn new(sandbox: &Sandbox, replace: &[(&str, &str)]) -> Model {
        let folder = sandbox.path("model");
        std::fs::create_dir(&folder).unwrap();
        for entry in std::fs::read_dir(Sandbox::repository().join("configs/quickstart/models/tiny-0.3m")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
        sandbox.small(&[&[("source: MODEL", "source: model")], replace].concat());
        Model { folder }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Edits a JSON file.
    pub fn json(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&std::fs::read(self.file(name)).unwrap()).unwrap();
        edit(&mut value);
        std::fs::write(self.file(name), serde_json::to_vec(&value).unwrap()).unwrap();
    }

    /// Edits one tensor.
    pub fn tensor(&self, wanted: &str, edit: impl FnOnce(&mut Tensor)) {
        let file = self.file("model.safetensors");
        let bytes = std::fs::read(&file).unwrap();
        let read = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors: Vec<Tensor> = read
            .tensors()
            .into_iter()
            .map(|(name, t)| Tensor { name, dtype: t.dtype(), shape: t.shape().to_vec(), bytes: t.data().to_vec() })
            .collect();
        edit(tensors.iter_mut().find(|t| t.name == wanted).unwrap());
        let views = tensors.iter().map(|t| (&t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap()));
        std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
    }
}
