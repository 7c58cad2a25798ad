//! The messages in Chinese. The key of a message is its text in English, as it stands in a `say!` or a `phrase!`.

mod command_line;
mod commands;
mod configuration;
mod instance;
mod rsync;

/// English, Chinese. Each `{}` is a value. Where the Chinese needs another order, `{2}` is the second value.
type Message = (&'static str, &'static str);

const ALL: [&[Message]; 5] = [
    configuration::MESSAGES,
    rsync::MESSAGES,
    command_line::MESSAGES,
    commands::MESSAGES,
    instance::MESSAGES,
];

/// The message in Chinese.
pub fn chinese(english: &str) -> Option<&'static str> {
    ALL.into_iter().flatten().find(|(key, _)| *key == english).map(|(_, chinese)| *chinese)
}

#[cfg(test)]
mod tests;
