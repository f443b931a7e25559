//! Where points lie thickest: a two-dimensional kernel density on a grid, and its contours.

/// A density on a grid of `side` x `side` points over a rectangle.
#[derive(Debug, Clone)]
pub struct Density {
    side: usize,
    x: (f64, f64),
    y: (f64, f64),
    /// `[side, side]`, rows along y.
    values: Vec<f64>,
}

impl Density {
    /// A Gaussian kernel density (Scott 1992: the covariance of the points times n^(-1/3)) over the rectangle; none with
    /// fewer than five points, or points on one line.
    pub fn new(points: &[(f64, f64)], x: (f64, f64), y: (f64, f64), side: usize) -> Option<Density> {
        let n = points.len() as f64;
        if points.len() < 5 {
            return None;
        }
        let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
        let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|p| of(p.0 - mx, p.1 - my)).sum::<f64>() / (n - 1.0);
        let scott = n.powf(-1.0 / 3.0);
        let (xx, yy, xy) = (sum(&|x, _| x * x) * scott, sum(&|_, y| y * y) * scott, sum(&|x, y| x * y) * scott);
        let det = xx * yy - xy * xy;
        if !(det > 1e-12 * xx * yy && det > 0.0) {
            return None;
        }
        let (a, b, c) = (yy / det, -xy / det, xx / det);
        let norm = 1.0 / (n * std::f64::consts::TAU * det.sqrt());
        let at = |range: (f64, f64), i: usize| range.0 + (range.1 - range.0) * i as f64 / (side - 1) as f64;
        let mut values = vec![0.0; side * side];
        for (i, value) in values.iter_mut().enumerate() {
            let (gx, gy) = (at(x, i % side), at(y, i / side));
            *value = norm
                * points
                    .iter()
                    .map(|p| {
                        let (dx, dy) = (gx - p.0, gy - p.1);
                        (-0.5 * (a * dx * dx + 2.0 * b * dx * dy + c * dy * dy)).exp()
                    })
                    .sum::<f64>();
        }
        Some(Density { side, x, y, values })
    }

    /// The highest value on the grid.
    pub fn peak(&self) -> f64 {
        self.values.iter().copied().fold(0.0, f64::max)
    }

    /// The lines along which the density has a value, by marching squares; closed ones end where they begin.
    pub fn contours(&self, level: f64) -> Vec<Vec<(f64, f64)>> {
        let mut segments = Vec::new();
        for row in 0..self.side - 1 {
            for column in 0..self.side - 1 {
                segments.extend(self.crossed(row, column, level));
            }
        }
        join(segments).into_iter().map(|line| line.into_iter().map(|edge| self.place(edge, level)).collect()).collect()
    }

    /// The contour's segments within one square, each between two edges of the grid.
    fn crossed(&self, row: usize, column: usize, level: f64) -> Vec<(Edge, Edge)> {
        let value = |r: usize, c: usize| self.values[(row + r) * self.side + column + c];
        let inside = [(0, 0), (0, 1), (1, 1), (1, 0)].map(|(r, c)| value(r, c) >= level);
        // Bottom, right, top, left.
        let edges = [(row, column, false), (row, column + 1, true), (row + 1, column, false), (row, column, true)];
        let crossed: Vec<Edge> = (0..4).filter(|i| inside[*i] != inside[(i + 1) % 4]).map(|i| edges[i]).collect();
        match crossed[..] {
            [a, b] => vec![(a, b)],
            // A saddle: the middle says which corners belong together.
            [a, b, c, d] => {
                let middle = (value(0, 0) + value(0, 1) + value(1, 1) + value(1, 0)) / 4.0 >= level;
                if middle == inside[0] { vec![(a, b), (c, d)] } else { vec![(a, d), (b, c)] }
            }
            _ => Vec::new(),
        }
    }

    /// Where the contour crosses an edge.
    fn place(&self, (row, column, upright): Edge, level: f64) -> (f64, f64) {
        let first = self.values[row * self.side + column];
        let second = self.values[if upright { (row + 1) * self.side + column } else { row * self.side + column + 1 }];
        let share = if second == first { 0.5 } else { (level - first) / (second - first) };
        let (c, r) = if upright { (column as f64, row as f64 + share) } else { (column as f64 + share, row as f64) };
        let at = |range: (f64, f64), i: f64| range.0 + (range.1 - range.0) * i / (self.side - 1) as f64;
        (at(self.x, c), at(self.y, r))
    }
}

/// An edge of the grid: from (row, column) to the next column or, upright, to the next row.
type Edge = (usize, usize, bool);

/// Segments joined end to end.
fn join(segments: Vec<(Edge, Edge)>) -> Vec<Vec<Edge>> {
    let mut at: std::collections::BTreeMap<Edge, Vec<usize>> = std::collections::BTreeMap::new();
    for (i, (a, b)) in segments.iter().enumerate() {
        at.entry(*a).or_default().push(i);
        at.entry(*b).or_default().push(i);
    }
    let mut used = vec![false; segments.len()];
    let mut lines = Vec::new();
    for start in 0..segments.len() {
        if used[start] {
            continue;
        }
        used[start] = true;
        let mut line = std::collections::VecDeque::from([segments[start].0, segments[start].1]);
        for front in [false, true] {
            loop {
                let end = if front { line[0] } else { line[line.len() - 1] };
                let Some(next) = at[&end].iter().copied().find(|i| !used[*i]) else { break };
                used[next] = true;
                let (a, b) = segments[next];
                let other = if a == end { b } else { a };
                if front { line.push_front(other) } else { line.push_back(other) }
            }
        }
        lines.push(line.into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on circles around the origin.
    fn disc() -> Vec<(f64, f64)> {
        (0..200)
            .map(|i| {
                let (turn, radius) = (f64::from(i) * 2.4, f64::from(i).sqrt() / 10.0);
                (radius * turn.cos(), radius * turn.sin())
            })
            .collect()
    }

    #[test]
    fn a_contour_of_a_disc_is_a_closed_ring_around_it() {
        let density = Density::new(&disc(), (-3.0, 3.0), (-3.0, 3.0), 61).expect("a density");
        let peak = density.peak();
        let lines = density.contours(peak * 0.5);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].first(), lines[0].last(), "closed");
        let radii: Vec<f64> = lines[0].iter().map(|p| p.0.hypot(p.1)).collect();
        let (low, high) = radii.iter().fold((f64::INFINITY, 0.0_f64), |r, v| (r.0.min(*v), r.1.max(*v)));
        assert!(low > 0.5 && high - low < 0.15, "{low} {high}");
        // The lower level encloses the higher one.
        let wide = density.contours(peak * 0.25);
        assert!(wide[0].iter().all(|p| p.0.hypot(p.1) > high));
        assert!(density.contours(peak * 2.0).is_empty());
    }

    #[test]
    fn points_on_a_line_and_too_few_have_none() {
        let line: Vec<(f64, f64)> = (0..20).map(|i| (f64::from(i), 2.0 * f64::from(i))).collect();
        assert!(Density::new(&line, (0.0, 20.0), (0.0, 40.0), 11).is_none());
        assert!(Density::new(&disc()[..4], (-1.0, 1.0), (-1.0, 1.0), 11).is_none());
    }
}
