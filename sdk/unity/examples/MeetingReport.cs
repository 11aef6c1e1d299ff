using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;
using System.Threading.Tasks;
using Nucleus;

/// <summary>What the program has counted.</summary>
sealed class MeetingReport
{
    readonly SortedDictionary<string, long> seen = new SortedDictionary<string, long>();
    readonly SortedDictionary<string, long> received = new SortedDictionary<string, long>();
    readonly SortedDictionary<string, long> askFailures = new SortedDictionary<string, long>();
    long repeats, answered, wrong;

    internal bool IsResumed { get; set; }
    internal long Frames { get; set; }
    /// <summary>Longest time in seconds from one frame to the next. A long one tells of a machine that is too
    /// busy.</summary>
    internal double LongestPause { get; set; }
    /// <summary>Interpolated poses, which were compared with the truth.</summary>
    internal long Compared { get; set; }
    internal long Over60Mm { get; set; }
    internal double MaxErrorMm { get; set; }
    /// <summary>Frames in which a pose showed an earlier moment than in the frame before.</summary>
    internal long Backwards { get; set; }
    /// <summary>Events that this run has sent.</summary>
    internal long Sent { get; set; }
    internal long Gaps { get; set; }
    internal long Asked { get; set; }
    /// <summary>Changes of the count that came after one of another user.</summary>
    internal long Conflicts { get; set; }
    internal long ChangeFailures { get; set; }
    /// <summary>How often the client came back as a new peer.</summary>
    internal long Rejoined { get; set; }

    internal void CountSeen(string user)
    {
        Add(seen, user);
    }

    /// <summary>Checks that an event is the next one of its sender. A later run begins at 0; the end of a
    /// run that was killed may be missing, and so may events before this one if
    /// <paramref name="mayMiss"/>.</summary>
    internal void CountEvent(MeetingMemory memory, string user, long run, long number, bool mayMiss)
    {
        Add(received, user);
        MeetingMemory.Record record;
        memory.Records.TryGetValue(user, out record);
        if (run > record.Run)
        {
            record = new MeetingMemory.Record { Run = run };
        }
        if (run < record.Run || number < record.Next)
        {
            repeats++;
            return;
        }
        Gaps += number > record.Next && !mayMiss ? 1 : 0;
        record.Next = number + 1;
        memory.Records[user] = record;
    }

    /// <summary>Counts a request to a peer that is done.</summary>
    internal void CountAnswer(Task<byte[]> task, string expected)
    {
        if (!task.IsFaulted)
        {
            bool isRight = Encoding.UTF8.GetString(task.Result) == expected;
            answered += isRight ? 1 : 0;
            wrong += isRight ? 0 : 1;
            return;
        }
        var failure = task.Exception.InnerException as NucleusException;
        NucleusResult result = failure == null ? NucleusResult.Internal : failure.Result;
        bool isTimedOut = result == NucleusResult.TimedOut;
        bool isInterrupted = result == NucleusResult.Interrupted;
        Add(askFailures, isTimedOut ? "timed_out" : isInterrupted ? "interrupted" : result.ToString());
    }

    /// <summary>Returns the report as one line.</summary>
    internal string ToJson(Room room, MeetingMemory memory, string countKey)
    {
        ulong version;
        byte[] digest = room.State.Digest(out version);
        var text = new StringBuilder("{");
        text.AppendFormat("\"user\": \"{0}\", \"peer\": {1}, ", room.Me.User, room.Me.Id);
        text.AppendFormat("\"run\": {0}, \"resumed\": {1}, ", memory.Run, Text(IsResumed));
        text.AppendFormat("\"longest_pause_ms\": {0}, ", (long)(LongestPause * 1000));
        text.AppendFormat("\"frames\": {0}, \"seen\": {1}, ", Frames, Numbers(seen));
        text.AppendFormat("\"compared\": {0}, \"over_60mm\": {1}, ", Compared, Over60Mm);
        string error = MaxErrorMm.ToString("F6", CultureInfo.InvariantCulture);
        text.AppendFormat("\"max_error_mm\": {0}, \"backwards\": {1}, ", error, Backwards);
        text.AppendFormat("\"sent\": {0}, \"received\": {1}, ", Sent, Numbers(received));
        var records = memory.Records.Select(
            entry => string.Format("\"{0}\": [{1}, {2}]", entry.Key, entry.Value.Run, entry.Value.Next));
        text.AppendFormat("\"records\": {{{0}}}, ", string.Join(", ", records));
        text.AppendFormat("\"gaps\": {0}, \"repeats\": {1}, ", Gaps, repeats);
        text.AppendFormat("\"asked\": {0}, \"answered\": {1}, \"wrong\": {2}, ", Asked, answered, wrong);
        text.AppendFormat("\"ask_failures\": {0}, ", Numbers(askFailures));
        text.AppendFormat("\"successes\": {0}, \"conflicts\": {1}, ", memory.Successes, Conflicts);
        text.AppendFormat("\"change_failures\": {0}, \"rejoined\": {1}, ", ChangeFailures, Rejoined);
        text.AppendFormat("\"objects\": {0}, \"version\": {1}, ", room.State.Objects.Count, version);
        string hex = BitConverter.ToString(digest).Replace("-", "").ToLowerInvariant();
        text.AppendFormat("\"digest\": \"{0}\", ", hex);
        text.AppendFormat("\"count\": {0}, ", room.State.Fields[countKey].AsInteger);
        text.AppendFormat("\"on_fallback\": {0}}}", Text(room.Connection.IsOnFallback));
        return text.ToString();
    }

    static void Add(IDictionary<string, long> numbers, string key)
    {
        long number;
        numbers.TryGetValue(key, out number);
        numbers[key] = number + 1;
    }

    static string Numbers(IEnumerable<KeyValuePair<string, long>> numbers)
    {
        var words = numbers.Select(entry => string.Format("\"{0}\": {1}", entry.Key, entry.Value));
        return "{" + string.Join(", ", words) + "}";
    }

    static string Text(bool value)
    {
        return value ? "true" : "false";
    }
}
