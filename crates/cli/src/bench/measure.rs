//! One measurement: how many rounds fill the time, and what one of them takes.

use std::time::{Duration, Instant};

/// Nanoseconds an operation, or why they could not be measured.
pub(crate) type Figure = Result<f64, String>;

/// What a round of work may fail with.
pub(crate) type Work<T> = Result<T, String>;

/// Runs `work(rounds)`, which answers with the time that took, with more and more rounds until about `time` is
/// filled; the last run is the figure.
pub(crate) fn scaled(time: Duration, mut work: impl FnMut(u64) -> Work<Duration>) -> Figure {
    let mut rounds = 4_u64;
    loop {
        let took = work(rounds)?.max(Duration::from_nanos(1));
        let share = time.as_secs_f64() / took.as_secs_f64();
        if share <= 4.0 {
            let last = ((rounds as f64 * share) as u64).max(rounds);
            return Ok(work(last)?.as_nanos() as f64 / last as f64);
        }
        rounds = ((rounds as f64 * (share / 2.0).min(16.0)) as u64).max(rounds + 1);
    }
}

/// Times `each`, called over and over in this process.
pub(crate) fn alone(time: Duration, mut each: impl FnMut() -> Work<()>) -> Figure {
    scaled(time, |rounds| {
        let start = Instant::now();
        for _ in 0..rounds {
            each()?;
        }
        Ok(start.elapsed())
    })
}
