//! Random faults. None is a valid response with wrong data, which no client can detect.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::expected::{Chance, pick};

/// A fault in the simulator's syntax.
pub fn random_fault(rng: &mut Rng, networks: &[String], users: &BTreeSet<String>) -> String {
    let kind = match rng.u8(..27) {
        0 | 1 => "429".to_owned(),
        2 => format!("429:retry-after={}", rng.u8(..3)),
        3 => "500".to_owned(),
        4 => "502".to_owned(),
        5 | 6 => "503".to_owned(),
        7 => format!(
            "error:status=400,type={}",
            pick(rng, &["ThrottlingException", "ExpiredTokenException"])
        ),
        8 => pick(rng, &["400", "404", "422", "401", "409", "418", "599"]).to_owned(),
        9 => (pick(rng, &["unauthorized", "forbidden", "expired-token"])).to_owned(),
        10 | 11 => "hang".to_owned(),
        12 => "reset".to_owned(),
        13 => "close".to_owned(),
        14 | 15 => "truncate".to_owned(),
        16 => "endless,times=1".to_owned(),
        17 => "drip:1ms".to_owned(),
        18 => "html".to_owned(),
        19 => "redirect".to_owned(),
        20 => format!("slow:{}ms", rng.u16(1..1500)),
        21 => format!("skew:{}m", rng.i8(-30..30)),
        22 => "refuse-token".to_owned(),
        23 => "repeat-token".to_owned(),
        24 => "endless-pages,times=40".to_owned(),
        // The 404 of a gateway does not mean that the user was deleted. A network of another account
        // or region can be refused without an error name.
        25 => format!("error:status={},type=", pick(rng, &[401, 403, 404])),
        _ => "nonsense".to_owned(),
    };
    let mut text = kind;
    if rng.chance(3, 5) {
        text.push_str(",op=ListDevicesForUser");
        if rng.chance(1, 3) && !users.is_empty() {
            let users: Vec<_> = users.iter().collect();
            text.push_str(&format!(",user={}", pick(rng, &users)));
        }
        if rng.chance(1, 4) {
            text.push_str(&format!(",page={}", rng.u8(1..4)));
        }
    } else if rng.chance(1, 2) {
        let others = [
            "ListUsers",
            "ListSecurityGroups",
            "ListNetworks",
            "GetUsersCount",
            "GetGuestUserHistoryCount",
            "GetNetworkSettings",
            "ListBots",
        ];
        text.push_str(&format!(",op={}", pick(rng, &others)));
    }
    if rng.chance(1, 4) && !networks.is_empty() && !text.contains("ListNetworks") {
        text.push_str(&format!(",network={}", pick(rng, networks)));
    }
    if rng.chance(1, 2) {
        text.push_str(&format!(",p={}", pick(rng, &["0.02", "0.1", "0.3", "0.7"])));
    }
    if rng.chance(1, 2) && !text.contains("times=") {
        text.push_str(&format!(",times={}", rng.u8(1..40)));
    }
    // Last, because they include everything that follows.
    if text.starts_with("nonsense") {
        text.push_str(&format!(",body={}", pick(rng, &INVALID_BODIES)));
    } else if text.contains("type=,") || text.ends_with("type=") {
        text.push_str(&format!(",message={}", pick(rng, &["Not Found", "Forbidden", "<html>"])));
    }
    text
}

/// Invalid responses.
const INVALID_BODIES: [&str; 10] = [
    "",
    "null",
    "[]",
    "\"devices\"",
    "{\"devices\": ",
    "{\"devices\": 5}",
    "{\"devices\": [], \"nextToken\": 7}",
    "{\"message\": \"ok\"}",
    "{\"devices\": [{\"appId\": \"ghost\"}",
    "\u{0}\u{1}\u{2}",
];
