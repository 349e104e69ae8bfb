//! What generated rows are like: the same for the same sizes, always, and as uneven as real ones.
//!
//! A few users make most resources and a few teams have most members. Resources share their time of creation, in small groups
//! and in one big import, so that pages which order by time alone would show it. Some are private, deleted, incomplete,
//! without a version, without a creator, without a team; some users are in no team.
//! What is being done or to be done is nearly all of the last weeks. A few users are in very many teams.
//! `usr-1`, `team-1` and `res-1` are what examples use: public and complete. Values in, values out.

use super::random::{Moment, Random, SPAN_S, small};
use crate::clock::Day;

const FIRST: [&str; 24] = [
    "Ada",
    "Alan",
    "Amina",
    "Barbara",
    "Chen",
    "Dana",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "Ines",
    "Jorge",
    "Katherine",
    "Linus",
    "Margaret",
    "Niklaus",
    "Olga",
    "Priya",
    "Radia",
    "Sana",
    "Tim",
    "Uma",
    "Wei",
    "Yuki",
];
const LAST: [&str; 24] = [
    "Adeyemi", "Berg", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Hopper", "Ito", "Jensen", "Kaya",
    "Lovelace", "Moreau", "Nowak", "Okafor", "Patel", "Quist", "Rossi", "Silva", "Tanaka", "Ueda", "Vargas",
    "Wang", "Zhou",
];
const SUBJECT: [&str; 16] = [
    "Invoice",
    "Weather",
    "Release",
    "Customer",
    "Sensor",
    "Translation",
    "Contract",
    "Payroll",
    "Search",
    "Calendar",
    "Inventory",
    "Support",
    "Survey",
    "Deployment",
    "Meeting",
    "Research",
];
const WORK: [&str; 12] = [
    "summary",
    "pipeline",
    "checklist",
    "importer",
    "report",
    "planner",
    "classifier",
    "digest",
    "review",
    "tracker",
    "guide",
    "cleanup",
];
const GROUP: [&str; 8] = ["Data", "Design", "Field", "Growth", "Platform", "Quality", "Research", "Support"];
const LANGUAGES: [&[&str]; 6] =
    [&["en"], &["en", "de"], &["en", "fr"], &["es"], &["pt", "en"], &["ja", "en"]];
const KINDS: [&str; 6] = ["Api", "Code", "Note", "Project", "Routine", "Standard"];
/// Of a run that is over, and of one that need not be.
const OLD_STATUS: [&str; 6] = ["Completed", "Completed", "Completed", "Completed", "Failed", "Cancelled"];
const STATUS: [&str; 8] =
    ["Completed", "Completed", "Completed", "Completed", "Failed", "Cancelled", "InProgress", "Scheduled"];
const PERMISSIONS: [&str; 3] = [
    r#"{"resources": ["read", "write"], "members": "admins"}"#,
    r#"{"resources": ["read", "write"], "members": "all"}"#,
    r#"{"resources": ["read"], "members": "admins", "isListed": true}"#,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) users: u64,
    pub(super) teams: u64,
    pub(super) resources: u64,
    pub(super) runs: u64,
    pub(super) tags: u64,
    pub(super) chats: u64,
    /// Seconds since 2000-01-01, where Postgres begins to count.
    pub(super) start_s: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) handle: Option<String>,
    pub(super) email: Option<String>,
    pub(super) is_bot: bool,
    pub(super) is_private: bool,
    pub(super) languages: &'static [&'static str],
    pub(super) preferences: String,
    pub(super) created_at: Moment,
    pub(super) updated_at: Moment,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Team {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) handle: Option<String>,
    pub(super) is_private: bool,
    pub(super) permissions: String,
    pub(super) created_at: Moment,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) user: u64,
    pub(super) team: u64,
    pub(super) is_admin: bool,
    pub(super) created_at: Moment,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) id: u64,
    pub(super) creator: Option<u64>,
    pub(super) team: Option<u64>,
    pub(super) kind: &'static str,
    pub(super) is_private: bool,
    pub(super) is_deleted: bool,
    pub(super) has_complete_version: bool,
    pub(super) score: i32,
    pub(super) bookmarks: i32,
    pub(super) views: i32,
    pub(super) config: String,
    pub(super) created_at: Moment,
    pub(super) updated_at: Moment,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) resource: u64,
    /// From 0.
    pub(super) index: i32,
    pub(super) name: String,
    pub(super) is_latest: bool,
    pub(super) is_complete: bool,
    pub(super) config: String,
    pub(super) created_at: Moment,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) id: u64,
    pub(super) user: Option<u64>,
    pub(super) version: Option<u64>,
    pub(super) name: String,
    pub(super) status: &'static str,
    pub(super) started_at: Option<Moment>,
    pub(super) completed_at: Option<Moment>,
    pub(super) created_at: Moment,
}

impl Sizes {
    pub(super) fn of(resources: u32, until: Day) -> Self {
        let resources = u64::from(resources);
        Self {
            users: (resources / 10).max(10),
            teams: (resources / 50).max(5),
            resources,
            runs: resources,
            tags: (resources / 200).clamp(20, 5_000),
            chats: (resources / 20).max(5),
            start_s: (until.since_2000() * 86_400).saturating_sub(SPAN_S),
        }
    }

    pub(super) fn end(&self) -> Moment {
        Moment::of(self.start_s + SPAN_S)
    }

    /// Later by so many seconds, and not in the future.
    pub(super) fn later(&self, moment: Moment, seconds: u64) -> Moment {
        moment.later(seconds).min(self.end())
    }

    /// When the `nth` of `count` was made.
    pub(super) fn at(&self, nth: u64, count: u64, random: &mut Random) -> Moment {
        Moment::at(self.start_s, nth, count, random).min(self.end())
    }

    pub(super) fn user(&self, id: u64) -> User {
        let mut random = Random::of("users", id);
        let (first, last) = (random.pick(&FIRST), random.pick(&LAST));
        let (has_handle, has_email) = (!random.is_one_in(6) || id == 1, !random.is_one_in(9) || id == 1);
        let handle = format!("{}_{}_{id}", first.to_lowercase(), last.to_lowercase());
        let created_at = self.at(id - 1, self.users, &mut random);
        let theme = random.pick(&["light", "dark", "system"]);
        User {
            id,
            name: format!("{first} {last}"),
            email: has_email.then(|| format!("{handle}@example.com")),
            handle: has_handle.then_some(handle),
            is_bot: random.is_one_in(25),
            is_private: id != 1 && random.is_one_in(11),
            languages: random.pick(&LANGUAGES),
            preferences: if id != 1 && random.is_one_in(12) {
                "{}".to_owned()
            } else {
                format!("{{\"theme\": \"{theme}\", \"pageSize\": {}}}", 10 + 10 * random.below(5))
            },
            created_at,
            updated_at: self.later(created_at, random.below(90 * 86_400)),
        }
    }

    pub(super) fn team(&self, id: u64) -> Team {
        let mut random = Random::of("teams", id);
        let (subject, group) = (random.pick(&SUBJECT), random.pick(&GROUP));
        let has_handle = !random.is_one_in(5);
        Team {
            id,
            name: format!("{subject} {group}"),
            handle: has_handle.then(|| format!("{}_{}_{id}", subject.to_lowercase(), group.to_lowercase())),
            is_private: id > 3 && random.is_one_in(9),
            permissions: random.pick(&PERMISSIONS).to_owned(),
            created_at: self.at(id - 1, self.teams, &mut random),
        }
    }

    /// The teams of a user, none of them twice.
    pub(super) fn memberships(&self, user: u64) -> Vec<Member> {
        let mut random = Random::of("members", user);
        let count = match user {
            1 => 3,
            _ if random.is_one_in(7) => 0,
            // Those who are everywhere.
            _ if random.is_one_in(400) => (20 + random.below(180)).min(self.teams),
            _ => 1 + random.skewed(8),
        };
        let mut members: Vec<Member> = Vec::new();
        for nth in 0..count {
            let team = if user == 1 { nth + 1 } else { 1 + random.skewed(self.teams) };
            // Those who join several teams on one day have the same time in all of them.
            let day = if nth % 2 == 0 { random.below(SPAN_S / 86_400) } else { 0 };
            let created_at = match members.last() {
                Some(before) if nth % 2 == 1 => before.created_at,
                _ => Moment::of(self.start_s + day * 86_400),
            };
            if !members.iter().any(|member| member.team == team) {
                members.push(Member { user, team, is_admin: nth == 0 && random.is_one_in(3), created_at });
            }
        }
        members
    }

    pub(super) fn resource(&self, id: u64) -> Resource {
        let mut random = Random::of("resources", id);
        let is_example = id == 1;
        let creator = (!random.is_one_in(40)).then(|| 1 + random.skewed(self.users));
        let team = random.is_one_in(3).then(|| 1 + random.skewed(self.teams));
        let kind = random.pick(&KINDS);
        // What is watched is watched by many.
        let views = random.skewed(2_000) * random.skewed(50);
        let bookmarks = views * random.below(20) / 100;
        let created_at = self.at(id - 1, self.resources, &mut random);
        let kind = if is_example { "Routine" } else { kind };
        let language = random.pick(&["en", "de", "fr", "ja"]);
        let config = if kind == "Routine" && (is_example || !random.is_one_in(4)) {
            let timeout = 30 * (1 + random.skewed(120));
            format!("{{\"language\": \"{language}\", \"executionTimeout\": {timeout}}}")
        } else {
            format!("{{\"language\": \"{language}\", \"size\": {}}}", random.skewed(1_000))
        };
        Resource {
            id,
            creator: if is_example { Some(1) } else { creator },
            team: if is_example { Some(1) } else { team },
            kind,
            is_private: !is_example && random.is_one_in(9),
            is_deleted: !is_example && random.is_one_in(30),
            has_complete_version: self.versions(id).iter().any(|version| version.is_complete),
            score: small(bookmarks / 2 + random.below(10)),
            bookmarks: small(bookmarks),
            views: small(views),
            config,
            created_at,
            updated_at: self.later(created_at, random.below(200 * 86_400)),
        }
    }

    /// The versions of a resource, the latest one last.
    pub(super) fn versions(&self, resource: u64) -> Vec<Version> {
        let mut random = Random::of("resource_versions", resource);
        let is_example = resource == 1;
        let count = match resource {
            1 => 2,
            _ if random.is_one_in(80) => 0,
            _ => 1 + random.skewed(6),
        };
        let (subject, work) = (random.pick(&SUBJECT), random.pick(&WORK));
        let mut created_at = self.at(resource - 1, self.resources, &mut Random::of("resources", resource));
        let version = |index| {
            let is_complete = is_example || !random.is_one_in(12);
            let name =
                if index == 0 { format!("{subject} {work}") } else { format!("{subject} {work}, revised") };
            let config = format!(
                "{{\"steps\": {}, \"timeoutS\": {}}}",
                1 + random.below(30),
                30 * (1 + random.below(20))
            );
            let of_this = created_at;
            created_at = self.later(created_at, random.below(30 * 86_400));
            Version {
                resource,
                index: small(index),
                name,
                is_latest: index + 1 == count,
                is_complete,
                config,
                created_at: of_this,
            }
        };
        (0..count).map(version).collect()
    }

    /// `versions` is how many there are of all resources.
    pub(super) fn run(&self, id: u64, versions: u64) -> Run {
        let mut random = Random::of("runs", id);
        let is_recent = id * 50 > self.runs * 49 || random.is_one_in(500);
        let status = if is_recent { random.pick(&STATUS) } else { random.pick(&OLD_STATUS) };
        let created_at = self.at(id - 1, self.runs, &mut random);
        let started_at = (status != "Scheduled").then(|| self.later(created_at, random.below(600)));
        let has_ended = matches!(status, "Completed" | "Failed" | "Cancelled");
        Run {
            id,
            user: (!random.is_one_in(20)).then(|| 1 + random.skewed(self.users)),
            version: (versions > 0 && !random.is_one_in(50)).then(|| 1 + random.skewed(versions)),
            name: format!("{} {}", random.pick(&SUBJECT), random.pick(&WORK)),
            status,
            started_at,
            completed_at: started_at
                .filter(|_| has_ended)
                .map(|started_at| self.later(started_at, 1 + random.below(7_200))),
            created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes {
        users: 1_000,
        teams: 200,
        resources: 10_000,
        runs: 10_000,
        tags: 50,
        chats: 500,
        start_s: 8_401 * 86_400,
    };

    #[test]
    fn what_examples_use_is_there_for_every_size() {
        for resources in [10, 100, 10_000, 1_000_000] {
            let sizes = Sizes::of(resources, "2026-01-01".parse().unwrap());
            assert!(!sizes.user(1).is_private && !sizes.team(1).is_private);
            let example = sizes.resource(1);
            assert_eq!((example.creator, example.team), (Some(1), Some(1)));
            assert!(!example.is_deleted && !example.is_private && example.has_complete_version);
            let teams: Vec<_> = sizes.memberships(1).iter().map(|member| member.team).collect();
            assert_eq!(teams, [1, 2, 3]);
            assert!(teams.iter().all(|team| !sizes.team(*team).is_private));
        }
    }

    #[test]
    fn rows_are_as_uneven_as_real_ones() {
        let resources: Vec<_> = (1..=SIZES.resources).map(|id| SIZES.resource(id)).collect();
        let share =
            |is_one: &dyn Fn(&Resource) -> bool| resources.iter().filter(|resource| is_one(resource)).count();
        assert!((500..2_000).contains(&share(&|resource| resource.is_private)));
        assert!((100..1_000).contains(&share(&|resource| resource.is_deleted)));
        assert!((100..2_000).contains(&share(&|resource| !resource.has_complete_version)));
        assert!((100..1_000).contains(&share(&|resource| resource.creator.is_none())));
        assert!((5_000..8_000).contains(&share(&|resource| resource.team.is_none())));
        assert!(share(&|resource| resource.creator.is_some_and(|user| user <= SIZES.users / 8)) > 4_500);
        let import = Moment::of(SIZES.start_s + SPAN_S / 2);
        assert!((100..400).contains(&share(&|resource| resource.created_at == import)));
        assert!((1..=SIZES.users).any(|user| SIZES.memberships(user).is_empty()));
    }

    #[test]
    fn references_and_latest_versions_are_right() {
        for id in 1..=SIZES.resources {
            let resource = SIZES.resource(id);
            assert!(resource.creator.is_none_or(|user| (1..=SIZES.users).contains(&user)));
            assert!(resource.team.is_none_or(|team| (1..=SIZES.teams).contains(&team)));
            let versions = SIZES.versions(id);
            assert_eq!(versions.iter().filter(|version| version.is_latest).count(), versions.len().min(1));
            assert!(versions.last().is_none_or(|version| version.is_latest));
        }
        for user in 1..=SIZES.users {
            let mut teams: Vec<_> = SIZES.memberships(user).iter().map(|member| member.team).collect();
            assert!(teams.iter().all(|team| (1..=SIZES.teams).contains(team)));
            let count = teams.len();
            teams.sort_unstable();
            teams.dedup();
            assert_eq!(teams.len(), count);
        }
    }
}
