//! Measurements, round by round.

/// One quantity of one server: some samples in every round.
#[derive(Clone, Default)]
pub(crate) struct Series(Vec<Vec<f64>>);

impl Series {
    /// Adds the samples of the next round.
    pub(crate) fn round(&mut self, samples: Vec<f64>) {
        self.0.push(samples);
    }

    /// Of all samples together, `share` are not above this.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        quantile(self.0.concat(), share)
    }

    /// How this compares to `floor`: the median of the rounds' ratios of medians. What slows down a whole round, such
    /// as a busy neighbour of this virtual machine, slows down both sides of its ratio.
    pub(crate) fn ratio(&self, floor: &Self) -> f64 {
        let rounds = self.0.iter().zip(&floor.0);
        let ratios = rounds.map(|(ours, floor)| quantile(ours.clone(), 0.5) / quantile(floor.clone(), 0.5));
        quantile(ratios.collect(), 0.5)
    }
}

/// `samples` is not empty: every row has at least one round.
fn quantile(mut samples: Vec<f64>, share: f64) -> f64 {
    samples.sort_unstable_by(f64::total_cmp);
    let last = samples.len() - 1;
    samples[(last as f64 * share).round() as usize]
}
