//! bf16 on a CPU: how far its states are from those in f32, and that they are the same on every CPU.

use limbic_engine::{Extraction, Model, Placement, Prompt, Request};
use limbic_proto::axis::ReadOut;

use crate::reference::{FAMILIES, Reference, all_layers, chats, fixture, greedy, prompts, raw, run};

/// |bf16 - f32| / |f32| of a row's state at a layer: in the mean over rows, and at most.
///
/// A number that is rounded to bf16 is off by at most 2^-9 of itself, by 0.0016 in the root of the mean square over what may
/// lie between two powers of two. Both factors of a product are, and they are independent: 0.0023 of the result, whose sums
/// lose nothing to speak of in f32. A block's two updates of the residual stream each go through two or three such products
/// (0.004 of the update), and the stream itself is never rounded; if updates are as long as the stream and point anywhere,
/// after n blocks about 0.004 * sqrt(n) of it is off, and each block hands on what its norm and softmax make of that. The
/// five families have wide random weights, whose updates are long and which amplify; trained models are gentler.
struct Bound {
    mean: f64,
    most: f64,
}

const RANDOM: Bound = Bound { mean: 0.04, most: 0.08 };
const TRAINED: Bound = Bound { mean: 0.01, most: 0.02 };

/// The largest and the mean distance over rows, layer by layer.
fn distances(ours: &Extraction, reference: &Extraction) -> Vec<(String, f64, f64)> {
    let length = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>().sqrt();
    let layer = |(ours, reference): (&limbic_engine::States, &limbic_engine::States)| {
        let rows = ours.values.chunks_exact(ours.values.len() / 12).zip(reference.values.chunks_exact(ours.values.len() / 12));
        let off: Vec<f64> = rows
            .map(|(a, b)| {
                let apart = length(&mut a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)));
                apart / length(&mut b.iter().map(|b| f64::from(*b)))
            })
            .collect();
        (ours.layer.to_string(), off.iter().copied().fold(0.0, f64::max), off.iter().sum::<f64>() / off.len() as f64)
    };
    ours.states.iter().zip(&reference.states).map(layer).collect()
}

/// Compares a model's states at the last token of prompts.
fn compare(name: &str, bound: &Bound, load: impl Fn(&Placement) -> Model, prompts: impl Fn(&Model) -> Vec<Prompt>) {
    let states = |placement: Placement| {
        let model = load(&placement);
        run(&model, &prompts(&model), &Request::new(all_layers(model.architecture().layers), vec![ReadOut::LAST]))
    };
    let found = distances(&states(Placement::cpu_bf16()), &states(Placement::cpu()));
    for (layer, most, mean) in found {
        println!("{name} layer {layer}: {most:.4} at most, {mean:.4} in the mean");
        assert!(most <= bound.most && mean <= bound.mean, "{name} layer {layer}: {most:.4} at most, {mean:.4} in the mean");
        // Embeddings of models that were stored in bf16 are not rounded again; everything else is.
        assert!(mean > 0.0 || layer == "0", "{name} layer {layer} is as in f32");
    }
}

#[test]
fn states_are_close_to_those_in_f32() {
    for name in FAMILIES {
        let texts = Reference::read(name).meta.texts;
        compare(name, &RANDOM, |placement| Model::load(&fixture(name), placement).unwrap(), |model| prompts(model, &raw(), &texts));
        compare(name, &RANDOM, |placement| Model::load(&fixture(name), placement).unwrap(), |model| chats(model, &texts));
    }
}

#[test]
fn states_of_a_real_model_are_close_to_those_in_f32() {
    let Some(path) = crate::smollm2::path() else {
        crate::skipped("states_of_a_real_model_are_close_to_those_in_f32: set LIMBIC_SMOLLM2_GGUF to the model's path");
        return;
    };
    let texts = Reference::read("smollm2-135m-instruct-q4_1").meta.texts;
    compare("SmolLM2-135M", &TRAINED, |placement| Model::load(&path, placement).unwrap(), |model| prompts(model, &raw(), &texts));
    compare("SmolLM2-135M, chats", &TRAINED, |placement| Model::load(&path, placement).unwrap(), |model| chats(model, &texts));
}

/// A unit's key doesn't name the CPU, so its result must not depend on it.
#[test]
fn cpus_without_the_instruction_compute_the_same_bits() {
    assert!(!Placement::cpu_bf16_portable().swift() && Placement::cpu().swift());
    if !Placement::cpu_bf16().swift() {
        crate::skipped("cpus_without_the_instruction_compute_the_same_bits: this CPU has no AVX512-BF16");
        return;
    }
    for name in FAMILIES {
        let meta = Reference::read(name).meta;
        let found = [Placement::cpu_bf16(), Placement::cpu_bf16_portable()].map(|placement| {
            let model = Model::load(&fixture(name), &placement).unwrap();
            let mut request = Request::new(all_layers(meta.layers), vec![ReadOut::LAST, ReadOut::at(5)]);
            request.continuation = Some(greedy(5));
            run(&model, &chats(&model, &meta.texts), &request)
        });
        assert!(found[0] == found[1], "{name}");
    }
}
