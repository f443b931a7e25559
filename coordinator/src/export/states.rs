//! Hidden states, one array for every model, condition, layer and read-out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use limbic_proto::axis::{Context, Layer, ReadOut};
use limbic_proto::logs::tell;
use limbic_worker::inputs::Lengths;
use tracing::Level;

use super::index::ArrayEntry;
use super::npy::Array;
use super::{Export, Exported, Reading, Wanted};
use crate::failure::Failure;
use crate::progress::{Phase, bytes, counted};
use crate::sweep::Sweep;

/// The states that are wanted of each reading, layer by layer.
pub(super) type Tensors = Vec<BTreeMap<Layer, Vec<ReadOut>>>;

/// Chooses among what readings hold; what several hold is taken of the first.
///
/// # Errors
/// A selector means nothing of what there is.
pub(super) fn tensors(sweep: &Sweep, readings: &[Reading<'_>], wanted: &Wanted) -> Result<Tensors, Failure> {
    if let Wanted::Meant(selector) = wanted {
        selector.check(&sweep.plan).map_err(|e| Failure::user(format_args!("--states: {e}")))?;
    }
    let mut seen = BTreeSet::new();
    let mut chosen = Tensors::new();
    for reading in readings {
        let mut layers: BTreeMap<Layer, Vec<ReadOut>> = BTreeMap::new();
        for &layer in &reading.unit.layers {
            for &read_out in &reading.unit.read_outs {
                let seed = drawn(reading, read_out);
                let model = &sweep.plan.models[reading.model].name;
                let condition = &sweep.plan.conditions[reading.condition].name;
                let meant = match wanted {
                    Wanted::Nothing => false,
                    Wanted::All => true,
                    Wanted::Meant(selector) => selector.means_state(model, condition, layer, read_out.offset, seed),
                };
                if meant && seen.insert((reading.model, reading.condition, layer, read_out, seed)) {
                    layers.entry(layer).or_default().push(read_out);
                }
            }
        }
        chosen.push(layers);
    }
    if matches!(wanted, Wanted::Meant(_)) && seen.is_empty() {
        return Err(Failure::user("--states: nothing that is done has all of these values; `limbic status` says where the sweep stands"));
    }
    Ok(chosen)
}

/// The seed of the reply that a state depends on.
fn drawn(reading: &Reading<'_>, read_out: ReadOut) -> Option<u64> {
    reading.sampling_seed.filter(|_| read_out.offset > 0 && read_out.context != Context::Filler)
}

impl Export<'_> {
    /// Writes the arrays.
    pub(super) fn states(&self, readings: &[Reading<'_>], tensors: &Tensors, done: &mut Exported) -> Result<Vec<ArrayEntry>, Failure> {
        let mut here: Vec<(&Reading<'_>, &BTreeMap<Layer, Vec<ReadOut>>)> = Vec::new();
        for (reading, layers) in readings.iter().zip(tensors).filter(|(_, layers)| !layers.is_empty()) {
            if reading.unit.moments.is_some() {
                done.notes.push(format!("{}: states of train rows are not stored (execution.activations: none)", self.title(reading)));
            } else if reading.extracts.iter().any(|unit| self.chains.was_released(unit)) {
                let message = "its states were removed once they had been read (execution.activations: release)";
                done.notes.push(format!("{}: {message}", self.title(reading)));
            } else {
                here.push((reading, layers));
            }
        }
        let rows = self.sweep.rows.rows.len();
        let arrays: usize = here.iter().flat_map(|(_, layers)| layers.values()).map(Vec::len).sum();
        if arrays == 0 {
            return Ok(Vec::new());
        }
        let size = |(reading, layers): &(&Reading<'_>, &BTreeMap<Layer, Vec<ReadOut>>)| {
            let states: usize = layers.values().map(Vec::len).sum();
            (states * rows * 4 * self.width(reading)) as u64
        };
        let total: u64 = here.iter().map(size).sum();
        tell(Level::INFO, &format_args!("{} of {}, {}", counted(arrays, "array"), counted(rows, "row"), bytes(total)));
        let phase = Phase::of(arrays, "writing arrays");
        let (mut folders, mut entries) = (Folders::default(), Vec::new());
        for (reading, layers) in here {
            let folder = folders.of(self.sweep, reading);
            for (layer, read_outs) in layers {
                entries.extend(self.layer(reading, *layer, read_outs, &folder, done)?);
                read_outs.iter().for_each(|_| phase.step());
            }
        }
        Ok(entries)
    }

    fn title(&self, reading: &Reading<'_>) -> String {
        format!("{} under {}", self.sweep.plan.models[reading.model].name, self.sweep.plan.conditions[reading.condition].name)
    }

    fn width(&self, reading: &Reading<'_>) -> usize {
        self.sweep.plan.models[reading.model].architecture.hidden
    }

    /// The arrays of one layer, written side by side while its shards are read.
    fn layer(
        &self,
        reading: &Reading<'_>,
        layer: Layer,
        read_outs: &[ReadOut],
        folder: &str,
        done: &mut Exported,
    ) -> Result<Vec<ArrayEntry>, Failure> {
        let (rows, width) = (self.sweep.rows.rows.len(), self.width(reading));
        let files: Vec<String> = read_outs.iter().map(|read_out| file(reading, layer, *read_out, folder)).collect();
        let failed = |at: usize, error: &io::Error| self.unwritten(&files[at], error);
        let mut arrays = Vec::with_capacity(files.len());
        for (at, file) in files.iter().enumerate() {
            arrays.push(Array::create(&self.path(file), rows, width).map_err(|e| failed(at, &e))?);
        }
        let mut states = vec![0; files.len()];
        let shards = self.inputs.shards(&reading.extracts).map_err(|e| self.unread(e))?;
        let lengths = shards.lengths(read_outs).map_err(|e| self.unread(e))?;
        let found = lengths.iter().map(Lengths::rows).sum::<usize>();
        assert_eq!(found, rows, "the plan's extract units hold every row once");
        let names: Vec<String> = read_outs.iter().map(|read_out| read_out.tensor(layer)).collect();
        let none = vec![f32::NAN; width];
        let mut state = Vec::with_capacity(width);
        for (tensors, lengths) in shards.read_f32(&names).zip(&lengths) {
            for (at, tensor) in tensors.map_err(|e| self.unread(e))?.iter().enumerate() {
                if (tensor.rows, tensor.width) != (lengths.rows(), width) {
                    let shape = (tensor.rows, tensor.width, lengths.rows());
                    return Err(Failure::user(format_args!(
                        "{}: `{}` is {shape:?}, not of {width} columns",
                        self.title(reading),
                        names[at]
                    )));
                }
                for row in 0..lengths.rows() {
                    state.clear();
                    if lengths.reach(row, read_outs[at]) {
                        tensor.row(row, &mut state);
                        states[at] += 1;
                    }
                    arrays[at].push(if state.is_empty() { &none } else { &state }).map_err(|e| failed(at, &e))?;
                }
            }
        }
        let mut entries = Vec::with_capacity(files.len());
        for (at, array) in arrays.into_iter().enumerate() {
            array.finish().map_err(|e| failed(at, &e))?;
            done.files.push(files[at].clone());
            let read_out = read_outs[at];
            entries.push(ArrayEntry {
                file: files[at].clone(),
                model: self.sweep.plan.models[reading.model].name.clone(),
                condition: self.sweep.plan.conditions[reading.condition].name.clone(),
                layer,
                offset: read_out.offset,
                pooling: read_out.pooling.as_str().to_owned(),
                context: read_out.context.as_str().to_owned(),
                sampling_seed: drawn(reading, read_out),
                width,
                states: states[at],
            });
        }
        Ok(entries)
    }
}

fn file(reading: &Reading<'_>, layer: Layer, read_out: ReadOut, folder: &str) -> String {
    let seed = drawn(reading, read_out).map_or_else(String::new, |seed| format!(".s{seed}"));
    format!("{folder}/{}{seed}.npy", read_out.tensor(layer))
}

/// Folders of models and conditions: their names, but for what file systems don't take, each another one.
#[derive(Default)]
struct Folders {
    of: BTreeMap<(usize, usize), String>,
}

impl Folders {
    fn of(&mut self, sweep: &Sweep, reading: &Reading<'_>) -> String {
        let place = (reading.model, reading.condition);
        if let Some(known) = self.of.get(&place) {
            return known.clone();
        }
        let models: Vec<&str> = sweep.plan.models.iter().map(|model| model.name.as_str()).collect();
        let conditions: Vec<&str> = sweep.plan.conditions.iter().map(|condition| condition.name.as_str()).collect();
        let folder = format!("states/{}/{}", plain(&models, place.0), plain(&conditions, place.1));
        self.of.insert(place, folder.clone());
        folder
    }
}

/// A name among others as a folder's: what isn't a letter, a digit, `.`, `-` or `_` becomes `-`; where that makes it another's but for case,
/// its number is appended.
fn plain(names: &[&str], at: usize) -> String {
    let tame = |name: &str| {
        let tame = name.replace(|c: char| !(c.is_ascii_alphanumeric() || ".-_".contains(c)), "-");
        if tame.starts_with('.') { tame.replacen('.', "-", 1) } else { tame }
    };
    let own = tame(names[at]);
    let others = names.iter().enumerate().filter(|(other, _)| *other != at);
    let taken = others.into_iter().any(|(_, name)| tame(name).eq_ignore_ascii_case(&own));
    if taken { format!("{own}-{at}") } else { own }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn folders_stay_where_they_are_put_and_are_told_apart() {
        let names = ["gpt2", "org/model", "org-model", "../up", "GPT2", "..", "gefühl"];
        let folders: Vec<String> = (0..names.len()).map(|at| plain(&names, at)).collect();
        assert_eq!(folders, ["gpt2-0", "org-model-1", "org-model-2", "-.-up", "GPT2-4", "-.", "gef-hl"]);
    }
}
