//! The link between the parties that a command names.

use std::borrow::Cow;
use std::sync::Arc;

use hecc_plan::cost::CostTable;
use hecc_plan::link::Link;

/// Options that name a link.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct LinkArgs {
    /// Mbit/s between client and server, each way, to predict with and to choose the plan by [default: 1000]
    #[arg(long, value_name = "MBIT/S", value_parser = positive)]
    bandwidth: Option<f64>,
    /// Milliseconds of a round trip between them, to predict with and to choose the plan by [default: 0]
    #[arg(long, value_name = "MS", value_parser = positive)]
    round_trip: Option<f64>,
}

impl LinkArgs {
    /// Puts the link that is named into the table to predict with and, so that the plan suits it, into the one to choose by (`None`:
    /// the built-in one).
    pub fn apply(self, predicting: &mut Cow<'static, CostTable>, choosing: Option<CostTable>) -> Option<Arc<CostTable>> {
        let Some(link) = self.named() else { return choosing.map(Arc::new) };
        predicting.to_mut().link = link;
        Some(Arc::new(CostTable { link, ..choosing.unwrap_or_else(|| CostTable::built_in().clone()) }))
    }

    fn named(self) -> Option<Link> {
        let Link { bytes_per_second, round_trip } = Link::default();
        (self.bandwidth.is_some() || self.round_trip.is_some()).then(|| Link {
            bytes_per_second: self.bandwidth.map_or(bytes_per_second, |mbit| mbit * 1e6 / 8.0),
            round_trip: self.round_trip.map_or(round_trip, |ms| ms / 1e3),
        })
    }
}

/// A number above zero.
fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    (number.is_finite() && number > 0.0).then_some(number).ok_or_else(|| "must be above zero".to_owned())
}
