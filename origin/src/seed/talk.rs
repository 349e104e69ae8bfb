//! What generated tags, chats, messages and sessions are like. A few tags are on most resources. Most chats are short, the first
//! ones very long; messages of one minute can have one and the same time.

use super::random::{Moment, Random};
use super::rows::Sizes;

/// Of the chats, these have a share of the messages each that does not get smaller with their number.
const LONG_CHATS: u64 = 4;
const OPENERS: [&str; 8] = [
    "Has anyone looked at",
    "I changed",
    "Please review",
    "There is a problem with",
    "Thanks for",
    "Tomorrow we ship",
    "Who owns",
    "I could not reproduce",
];
const MATTERS: [&str; 8] = [
    "the importer",
    "the last run",
    "the new version",
    "the weekly report",
    "this limit",
    "the failing step",
    "our settings",
    "the plan for June",
];
const TOPICS: [&str; 10] = [
    "finance", "weather", "release", "support", "research", "writing", "testing", "health", "travel",
    "teaching",
];

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) created_at: Moment,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chat {
    pub(super) id: u64,
    pub(super) team: Option<u64>,
    pub(super) name: String,
    pub(super) is_private: bool,
    pub(super) created_at: Moment,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Participant {
    pub(super) user: u64,
    pub(super) has_unread: bool,
    pub(super) last_read_at: Option<Moment>,
    pub(super) created_at: Moment,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) user: u64,
    /// How many messages before this one in the chat the one is that it answers.
    pub(super) answers: Option<u64>,
    pub(super) text: String,
    pub(super) created_at: Moment,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) token_hash: Vec<u8>,
    pub(super) is_active: bool,
    pub(super) created_at: Moment,
    pub(super) expires_at: Moment,
}

impl Sizes {
    pub(super) fn tag(&self, id: u64) -> Tag {
        let mut random = Random::of("tags", id);
        Tag {
            id,
            name: format!("{}-{id}", random.pick(&TOPICS)),
            created_at: self.at(id - 1, self.tags, &mut random),
        }
    }

    /// Those of a resource, none of them twice.
    pub(super) fn tags_of(&self, resource: u64) -> Vec<u64> {
        let mut random = Random::of("resource_tags", resource);
        let count = if resource == 1 { 2 } else { random.below(4) };
        let mut tags: Vec<u64> = (0..count).map(|_| 1 + random.skewed(self.tags)).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    pub(super) fn chat(&self, id: u64) -> Chat {
        let mut random = Random::of("chats", id);
        let team = random.is_one_in(2).then(|| 1 + random.skewed(self.teams));
        Chat {
            id,
            team: if id == 1 { Some(1) } else { team },
            name: format!("{} about {}", random.pick(&TOPICS), random.pick(&MATTERS)),
            is_private: id != 1 && random.is_one_in(5),
            created_at: self.at(id - 1, self.chats, &mut random),
        }
    }

    /// At least one, none of them twice.
    pub(super) fn participants(&self, chat: u64) -> Vec<Participant> {
        let mut random = Random::of("chat_participants", chat);
        let made = self.chat(chat).created_at;
        let count = match chat {
            1..=LONG_CHATS => (self.users / 10).clamp(5, 300),
            _ => 2 + random.skewed(12),
        };
        let mut participants: Vec<Participant> = Vec::new();
        for nth in 0..count {
            let user = if chat == 1 && nth == 0 { 1 } else { 1 + random.skewed(self.users) };
            let created_at = self.later(made, random.below(20) * 86_400);
            let has_unread = random.is_one_in(4);
            let last_read_at =
                (!random.is_one_in(5)).then(|| self.later(created_at, random.below(90 * 86_400)));
            if !participants.iter().any(|other| other.user == user) {
                let has_unread = has_unread || (chat, user) == (1, 1);
                participants.push(Participant { user, has_unread, last_read_at, created_at });
            }
        }
        participants
    }

    /// The oldest first.
    pub(super) fn messages(&self, chat: u64) -> Vec<Message> {
        let mut random = Random::of("chat_messages", chat);
        let count = match chat {
            1..=LONG_CHATS => self.resources / (25 * chat),
            _ => 1 + random.skewed(60),
        };
        let users: Vec<u64> = self.participants(chat).iter().map(|participant| participant.user).collect();
        let mut created_at = self.chat(chat).created_at;
        let left_s = self.end().since(created_at);
        let message = |nth| {
            // Now and then two in the same moment.
            if !random.is_one_in(6) {
                created_at = self.later(created_at, 1 + random.below(2 * left_s / count.max(1)));
            }
            let answers = nth > 0 && random.is_one_in(5);
            Message {
                user: random.pick(&users),
                answers: answers.then(|| 1 + random.skewed(nth)),
                text: format!("{} {}", random.pick(&OPENERS), random.pick(&MATTERS)),
                created_at,
            }
        };
        (0..count).map(message).collect()
    }

    /// Of a user: of the last two months, half of them over.
    pub(super) fn sessions(&self, user: u64) -> Vec<Session> {
        let mut random = Random::of("sessions", user);
        let count = if user == 1 { 2 } else { random.below(4) };
        let session = |nth| {
            let age_s = random.below(60 * 86_400);
            let created_at = self.end().earlier(age_s);
            let token_hash = (0..4).flat_map(|_| random.below(u64::MAX).to_be_bytes()).collect();
            Session {
                token_hash,
                is_active: (user, nth) == (1, 0) || !random.is_one_in(3),
                created_at,
                expires_at: created_at.later(30 * 86_400),
            }
        };
        (0..count).map(session).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_right_and_one_chat_is_long() {
        for resources in [10, 10_000] {
            let sizes = Sizes::of(resources, "2026-01-01".parse().unwrap());
            for chat in 1..=sizes.chats {
                let participants = sizes.participants(chat);
                let mut users: Vec<_> = participants.iter().map(|participant| participant.user).collect();
                let messages = sizes.messages(chat);
                assert!(messages.iter().all(|message| users.contains(&message.user)));
                assert!(messages.is_sorted_by_key(|message| message.created_at));
                assert!(messages.iter().all(|message| message.created_at <= sizes.end()));
                let is_before = |(nth, message): (usize, &Message)| {
                    message.answers.is_none_or(|back| back >= 1 && back <= nth as u64)
                };
                assert!(messages.iter().enumerate().all(is_before));
                users.sort_unstable();
                users.dedup();
                assert_eq!(users.len(), participants.len());
            }
            assert!(sizes.participants(1)[0].has_unread);
        }
        let sizes = Sizes::of(10_000, "2026-01-01".parse().unwrap());
        assert_eq!(sizes.messages(1).len(), 400);
        let has_tie =
            |messages: &[Message]| messages.windows(2).any(|pair| pair[0].created_at == pair[1].created_at);
        assert!(has_tie(&sizes.messages(1)));
    }

    #[test]
    fn some_sessions_are_over() {
        let sizes = Sizes::of(10_000, "2026-01-01".parse().unwrap());
        let sessions: Vec<_> = (1..=sizes.users).flat_map(|user| sizes.sessions(user)).collect();
        let live =
            sessions.iter().filter(|session| session.is_active && session.expires_at > sizes.end()).count();
        assert!((sessions.len() / 5..sessions.len() / 2).contains(&live), "{live} of {}", sessions.len());
    }
}
