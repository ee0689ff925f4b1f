//! Invented markets: names, outcomes, tokens.

use super::chance::{Draws, Kind};

const TEAMS: [(&str, &str); 16] = [
    ("Harbor Gulls", "gul"),
    ("Copper Foxes", "fox"),
    ("Granite Owls", "owl"),
    ("River Kings", "kng"),
    ("Northgate United", "nor"),
    ("Saltmarsh Rovers", "slt"),
    ("Velvet Comets", "cmt"),
    ("Iron Larks", "lrk"),
    ("Eastfold Rangers", "est"),
    ("Amber Wolves", "amb"),
    ("Pinecrest Athletic", "pin"),
    ("Quarry Hawks", "qry"),
    ("Lowland Otters", "otr"),
    ("Silver Herons", "hrn"),
    ("Milltown City", "mil"),
    ("Cinder Bears", "cin"),
];

const SUBJECTS: [(&str, &str); 8] = [
    ("Will the Meridian bridge open", "meridian-bridge-open"),
    ("Will it snow in Port Larkin", "snow-in-port-larkin"),
    ("Will the Bellweather index close above 4,200", "bellweather-above-4200"),
    ("Will the Council of Ardmoor pass the harbour act", "ardmoor-harbour-act"),
    ("Will the film “Paper Lanterns” lead the charts", "paper-lanterns-lead-charts"),
    ("Will Orla Venn announce a run", "orla-venn-announce"),
    ("Will the Calder rocket reach orbit", "calder-rocket-orbit"),
    ("Will wheat trade below $5", "wheat-below-5"),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// One side of a market.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) token_id: String,
    pub(super) label: String,
}

/// A question with two outcomes.
#[derive(Clone, Debug)]
pub(super) struct Market {
    pub(super) condition_id: String,
    pub(super) slug: String,
    pub(super) title: String,
    pub(super) outcomes: [Outcome; 2],
    /// Which of the two exchange contracts settles it.
    pub(super) negative_risk: bool,
}

impl Market {
    /// The `number`-th market of a seed.
    pub(super) fn draw(seed: u64, number: u64) -> Market {
        let mut draws = Draws::of(seed, Kind::Market, number);
        let mut condition_id = String::new();
        draws.hex::<32>(&mut condition_id);
        let month = draws.below(12) as usize;
        let day = 1 + draws.below(28);
        let (slug, title, labels) = if draws.happens(0.6) {
            let home = draws.below(16) as usize;
            let away = (home + 1 + draws.below(15) as usize) % 16;
            let (home, away) = (TEAMS[home], TEAMS[away]);
            let slug = format!("cup-{}-{}-2025-{:02}-{day:02}-{number}", home.1, away.1, month + 1);
            (slug, format!("{} vs. {}", home.0, away.0), [home.0, away.0])
        } else {
            let subject = SUBJECTS[draws.below(8) as usize];
            let slug = format!("{}-by-{}-{day}-{number}", subject.1, MONTHS[month].to_lowercase());
            (slug, format!("{} by {} {day}?", subject.0, MONTHS[month]), ["Yes", "No"])
        };
        let outcomes = labels.map(|label| Outcome { token_id: token_id(&mut draws), label: label.into() });
        Market { condition_id, slug, title, outcomes, negative_risk: draws.happens(0.21) }
    }
}

/// A number of 76 to 78 digits, as uint256 numbers mostly have.
fn token_id(draws: &mut Draws) -> String {
    let lead = 10 + draws.below(1_147);
    let mut digits = |count: u32| draws.below(10u64.pow(count));
    format!("{lead}{:018}{:018}{:019}{:019}", digits(18), digits(18), digits(19), digits(19))
}
