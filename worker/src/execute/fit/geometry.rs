//! The geometry of the states of one read-out, as [`limbic_proto::unit::GEOMETRY`] has it.

use limbic_engine::probe::{Geometry, Matrix, NamedTensor, ProbeError, geometry};
use limbic_proto::unit::{FitName, similarity_rows};

use super::Study;
use super::cell::{Cell, failed};
use super::parts::Answers;
use super::results::test_rows;
use crate::execute::ExecuteError;

/// Principal components whose shares there are.
const COMPONENTS: usize = 10;

/// The tensors of a read-out.
pub(super) fn of(study: &Study, cell: &Cell) -> Result<Vec<NamedTensor>, ExecuteError> {
    let name = FitName::new("geometry", Some(cell.read_out), 0);
    described(study, cell).map_err(|e| failed(study, &cell.parts, &name, &e))
}

fn described(study: &Study, cell: &Cell) -> Result<Vec<NamedTensor>, ProbeError> {
    let (parts, outputs, all) = (&cell.parts, study.classes().len(), test_rows(study));
    let d = parts.width;
    let found = if parts.train.is_empty() || parts.test.is_empty() {
        let missing = |n: usize| vec![f32::NAN; n];
        Geometry { coordinates: Vec::new(), explained: missing(COMPONENTS), directions: missing(outputs * d), separation: [f32::NAN; 2] }
    } else {
        let answers = |rows: &[usize]| Answers::of(study, rows.iter().copied());
        let (train, test) = (answers(&parts.train.rows), answers(&parts.test.rows));
        Geometry::of(&parts.train.split(d, &train)?, &parts.test.split(d, &test)?, outputs)?
    };
    // Where each test row is among those that have a state.
    let mut places = vec![None; all.len()];
    parts.test.rows.iter().enumerate().for_each(|(place, row)| places[all[row]] = Some(place));
    let coordinates = places.iter().flat_map(|place| match place {
        Some(place) => found.coordinates[3 * place..3 * place + 3].to_vec(),
        None => vec![f32::NAN; 3],
    });
    let compared: Vec<Option<usize>> = similarity_rows(all.len()).into_iter().map(|row| places[row]).collect();
    let tensor =
        |name: &str, shape: Vec<usize>, data: Vec<f32>| NamedTensor { name: format!("{}.{name}", cell.read_out.name()), shape, data };
    Ok(vec![
        tensor("coordinates", vec![all.len(), 3], coordinates.collect()),
        tensor("explained", vec![found.explained.len()], found.explained.clone()),
        tensor("directions", vec![outputs, d], found.directions.clone()),
        tensor("similarity", vec![compared.len(); 2], similarity(cell, &compared)?),
        tensor("separation", vec![2], found.separation.to_vec()),
    ])
}

/// Inner products `[s, s]` of some test rows; NaN of those that have no state.
fn similarity(cell: &Cell, compared: &[Option<usize>]) -> Result<Vec<f32>, ProbeError> {
    let d = cell.parts.width;
    let present: Vec<(usize, usize)> = compared.iter().enumerate().filter_map(|(at, place)| Some((at, (*place)?))).collect();
    let states: Vec<f32> = present.iter().flat_map(|(_, place)| &cell.parts.test.x[place * d..][..d]).copied().collect();
    let products = geometry::similarity(&Matrix::new(&states, present.len(), d)?);
    let (s, n) = (compared.len(), present.len());
    let mut out = vec![f32::NAN; s * s];
    for (i, (row, _)) in present.iter().enumerate() {
        for (j, (column, _)) in present.iter().enumerate() {
            out[row * s + column] = products[i * n + j];
        }
    }
    Ok(out)
}
