use limbic_engine::probe::*;
use rayon::prelude::*;
use std::time::Instant;
fn main() {
    let f = |n: &str| std::fs::read(format!("/tmp/pv/{n}.bin")).unwrap();
    let h: Vec<f32> = f("H").chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let y: Vec<u32> = f("y").chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    let s: Vec<u32> = f("s").chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
    let (n, d) = (2800, 576);
    let layers: Vec<usize> = std::env::args().nth(1).map_or((0..31).collect(), |a| a.split(',').map(|v| v.parse().unwrap()).collect());
    let part = |l: usize, want: u32| {
        let rows: Vec<usize> = (0..n).filter(|&i| s[i] == want).collect();
        let x: Vec<f32> = rows.iter().flat_map(|&i| h[(l * n + i) * d..][..d].to_vec()).collect();
        let y: Vec<u32> = rows.iter().map(|&i| y[i]).collect();
        (x, y, rows.len())
    };
    let data: Vec<_> = layers.iter().map(|&l| (part(l, 0), part(l, 1))).collect();
    let cs: Vec<f64> = std::env::var("CS").map_or(vec![0.001, 1.0, 100.0], |v| v.split(",").filter(|v| !v.is_empty()).map(|v| v.parse().unwrap()).collect());
    for c in cs {
        let t = Instant::now();
        let out: Vec<_> = data.par_iter().map(|((x, y, m), _)| {
            let split = Split::new(Matrix::new(x, *m, d).unwrap(), y);
            let r = logistic::fit(&split, None, 7, &LogisticSettings::fixed(c)).unwrap().1;
            (r.path[0].iterations, r.path[0].objective, r.path[0].converged)
        }).collect();
        println!("C={c}: {:.3} s, {:?}", t.elapsed().as_secs_f64(), out.iter().map(|o| o.0).collect::<Vec<_>>());
        std::fs::write(format!("/tmp/pv/ours_{c}.json"), format!("{:?}", out.iter().map(|o| o.1).collect::<Vec<_>>())).unwrap();
        println!("{}", out.iter().all(|o| o.2));
    }
    if std::env::var("NOPATH").is_ok() { return; }
    let strengths: Vec<f64> = vec![1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 1.0];
    let t = Instant::now();
    let out: Vec<_> = data.par_iter().map(|((x, y, m), (hx, hy, hm))| {
        let z = Standardizer::fit(&Matrix::new(x, *m, d).unwrap()).unwrap();
        let (zx, zh) = (z.apply(&Matrix::new(x, *m, d).unwrap()).unwrap(), z.apply(&Matrix::new(hx, *hm, d).unwrap()).unwrap());
        let shuf: Vec<Vec<u32>> = (0..6u64).map(|seed| if seed == 0 { y.clone() } else {
            control::shuffled_labels(&(0..*m).collect::<Vec<_>>(), seed).into_iter().map(|i| y[i]).collect() }).collect();
        let trials: Vec<Trial> = shuf.iter().map(|y| Trial { train: Labels::from(y).into(), validation: Some(Labels::from(hy).into()) }).collect();
        let st = LogisticSettings { strengths: strengths.clone(), ..Default::default() };
        let r = logistic::fit_all(&Matrix::new(&zx, *m, d).unwrap(), Some(&Matrix::new(&zh, *hm, d).unwrap()), &trials, 7, &st).unwrap();
        r.into_iter().map(|r| r.unwrap().1.path.iter().map(|p| p.iterations).collect::<Vec<_>>()).collect::<Vec<_>>()
    }).collect();
    println!("path x 6: {:.3} s, {:?}", t.elapsed().as_secs_f64(), out[out.len()/2]);
}
