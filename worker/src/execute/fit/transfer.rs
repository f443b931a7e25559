//! Transfer units: fitted probes on the states of one layer under another condition.

use limbic_proto::unit::{FITS, PREDICTIONS, TransferRecord, TransferUnit, Unit};

use super::Study;
use super::parts::States;
use super::results::{spread, test_rows};
use crate::execute::{Advice, ExecuteError, Output};
use crate::inputs::Inputs;
use crate::progress::Progress;
use crate::tensors::TensorFile;

/// Predicts the test rows with every probe that was fitted at one of the unit's read-outs.
pub(in crate::execute) fn transfer(spec: &TransferUnit, unit: &Unit, inputs: &Inputs, progress: &Progress) -> Result<Output, ExecuteError> {
    let study = Study::open(unit, &spec.targets, inputs)?;
    let states = States::open(&study, &spec.extracts, spec.layer, &spec.read_outs, inputs)?;
    let (test, outputs) = (test_rows(&study), study.classes().len());
    let mut probes = Vec::new();
    for (at, fit) in spec.fits.iter().enumerate() {
        let of_unit = |read_out| spec.read_outs.contains(&read_out);
        let kept = inputs.probes(*fit, study.scheme(), |name| name.control.is_none() && name.read_out.is_some_and(of_unit))?;
        probes.extend(kept.into_iter().map(|probe| (at, probe)));
    }
    let (mut file, mut records) = (TensorFile::default(), Vec::new());
    for (done, read_out) in spec.read_outs.iter().enumerate() {
        if progress.cancelled() {
            return Err(ExecuteError::Cancelled);
        }
        let parts = states.parts(std::slice::from_ref(read_out))?.remove(0);
        for (fit, probe) in probes.iter().filter(|(_, probe)| probe.name.read_out == Some(*read_out)) {
            let record = TransferRecord { fit: *fit, name: probe.name.clone(), test: parts.test.len() };
            let failed = |error: limbic_engine::probe::ProbeError| ExecuteError::Engine {
                what: format!("using {}", record.tensor()),
                message: error.to_string(),
                advice: Advice::Reject,
            };
            let mut predictions = Vec::new();
            if !parts.test.is_empty() {
                let numbers = probe.fitted.predict(&parts.test.matrix(parts.width).map_err(failed)?).map_err(failed)?;
                predictions = parts.test.rows.iter().copied().zip(numbers.chunks_exact(outputs).map(<[f32]>::to_vec)).collect();
            }
            file.f32(record.tensor(), vec![test.len(), outputs], spread(&test, &predictions, outputs));
            records.push(record);
        }
        progress.set((done + 1) as f64 / spec.read_outs.len() as f64, 0);
    }
    records.sort_by(|a, b| (a.fit, &a.name).cmp(&(b.fit, &b.name)));
    let counts = crate::execute::counts([("probes", records.len())]);
    let records = serde_json::to_vec_pretty(&records).expect("records serialize");
    Ok(Output {
        artifacts: vec![(PREDICTIONS, file.content()?), (FITS, bytes::Bytes::from(records).into())],
        tokens: 0,
        counts,
        ..Output::default()
    })
}
