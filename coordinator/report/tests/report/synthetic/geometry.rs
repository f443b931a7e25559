//! States of few dimensions in which classes lie apart as far as the layer knows them, and what is described of them.

use limbic_proto::axis::{Layer, ReadOut};
use limbic_proto::unit::similarity_rows;
use limbic_report::{Deferred, Geometry, GeometryEntry};

use super::{CONDITIONS, MODELS, Size, World, at_layer};

const WIDTH: usize = 12;

/// Where classes lie: anger, disgust and fear near one another, joy opposite.
fn centre(class: usize) -> [f64; WIDTH] {
    let plane = [(1.0, 0.6), (0.8, 1.0), (1.1, 0.1), (-1.4, 0.2), (0.4, -1.2), (-0.6, 1.0), (-0.4, -0.6)][class];
    let mut at = [0.0; WIDTH];
    (at[0], at[1]) = plane;
    at[2 + class % 6] = 0.7;
    at
}

pub fn all(world: &mut World, size: Size) -> Vec<GeometryEntry> {
    let mut entries = Vec::new();
    for (model, (_, _, power)) in MODELS[..size.models].iter().enumerate() {
        for (condition, (_, _, factor)) in CONDITIONS[..size.conditions].iter().enumerate() {
            for layer in (0..=size.layers).map(Layer::Block).chain([Layer::Final]) {
                let strength = power * factor * at_layer(layer, size.layers);
                let turn = 0.5 * layer.depth(size.layers) + 0.2 * condition as f64 + 0.3 * model as f64;
                let tensors = Deferred::held(geometry(world, strength, turn));
                entries.push(GeometryEntry { model, condition, layer, read_out: ReadOut::LAST, tensors });
            }
        }
    }
    entries
}

fn geometry(world: &mut World, strength: f64, turn: f64) -> Geometry {
    let rows = world.truth.len();
    let (sin, cos) = turn.sin_cos();
    let states: Vec<[f64; WIDTH]> = (0..rows)
        .map(|row| {
            let centre = centre(world.truth[row]);
            let mut at: [f64; WIDTH] =
                std::array::from_fn(|i| strength * centre[i] + 0.5 * world.noise[row][i % 7] + 0.4 * World::normal(&mut world.rng));
            (at[0], at[5]) = (cos * at[0] - sin * at[5], sin * at[0] + cos * at[5]);
            at
        })
        .collect();
    let mean = |of: &dyn Fn(usize) -> bool| -> [f64; WIDTH] {
        let n = (0..rows).filter(|r| of(*r)).count() as f64;
        std::array::from_fn(|i| (0..rows).filter(|r| of(*r)).map(|r| states[r][i]).sum::<f64>() / n)
    };
    let whole = mean(&|_| true);
    let directions = (0..7).flat_map(|class| {
        let (own, other) = (mean(&|r| world.truth[r] == class), mean(&|r| world.truth[r] != class));
        (0..WIDTH).map(move |i| (own[i] - other[i]) as f32)
    });
    let chosen = similarity_rows(rows);
    let centred = |r: usize, i: usize| states[r][i] - whole[i];
    let product = |a: usize, b: usize| (0..WIDTH).map(|i| centred(a, i) * centred(b, i)).sum::<f64>() as f32;
    Geometry {
        coordinates: (0..rows).flat_map(|r| [0, 1, 2].map(|i| centred(r, i) as f32)).collect(),
        explained: vec![0.31, 0.22, 0.1],
        directions: directions.collect(),
        similarity: chosen.iter().flat_map(|a| chosen.iter().map(|b| product(*a, *b))).collect(),
        silhouette: (0.02 + 0.1 * strength) as f32,
        fisher: (0.1 + 0.4 * strength * strength) as f32,
    }
}
