using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text;

/// <summary>What a process leaves to the one that continues after it: ticket, peer id, run, successes, and
/// then a line for each sender.</summary>
sealed class MeetingMemory
{
    const string NoTicket = "-";

    /// <summary>The next event of a sender.</summary>
    internal struct Record
    {
        internal long Run;
        internal long Next;
    }

    readonly string file;

    MeetingMemory(string file)
    {
        this.file = file;
    }

    internal string Ticket { get; set; }

    /// <summary>The own peer id of the process before; 0 if there was none.</summary>
    internal uint Peer { get; set; }

    /// <summary>How often the program was started.</summary>
    internal long Run { get; set; }

    /// <summary>How often this user has increased the room's count.</summary>
    internal long Successes { get; set; }

    internal SortedDictionary<string, Record> Records { get; } = new SortedDictionary<string, Record>();

    /// <summary>Reads the file. Without one, this is the first process.</summary>
    internal static MeetingMemory Load(string file)
    {
        var memory = new MeetingMemory(file);
        if (!File.Exists(file))
        {
            return memory;
        }
        string[] words = File.ReadAllText(file).Split(new[] { ' ', '\n' });
        memory.Ticket = words[0] == NoTicket ? null : words[0];
        memory.Peer = uint.Parse(words[1]);
        memory.Run = long.Parse(words[2]);
        memory.Successes = long.Parse(words[3]);
        for (int i = 4; i + 2 < words.Length; i += 3)
        {
            memory.Records[words[i]] = new Record
            {
                Run = long.Parse(words[i + 1]),
                Next = long.Parse(words[i + 2]),
            };
        }
        return memory;
    }

    /// <summary>Replaces the file in one step, so that a killed process leaves the old one or the new
    /// one.</summary>
    internal void Save()
    {
        var text = new StringBuilder();
        CultureInfo culture = CultureInfo.InvariantCulture;
        text.AppendFormat(culture, "{0}\n{1} {2} {3}\n", Ticket ?? NoTicket, Peer, Run, Successes);
        foreach (KeyValuePair<string, Record> entry in Records)
        {
            text.AppendFormat(culture, "{0} {1} {2}\n", entry.Key, entry.Value.Run, entry.Value.Next);
        }
        string fresh = file + ".new";
        File.WriteAllText(fresh, text.ToString());
        if (File.Exists(file))
        {
            File.Replace(fresh, file, null);
        }
        else
        {
            File.Move(fresh, file);
        }
    }
}
