using System;
using System.Diagnostics;
using System.IO;
using System.Net;
using System.Net.Sockets;

namespace Nucleus.Tests
{
    /// <summary>A second server, which a test may kill. It has the keys and the certificate of the first
    /// one.</summary>
    sealed class OwnServer : IDisposable
    {
        readonly int port = FreePort();
        readonly string data = Path.Combine(Path.GetTempPath(), "nucleus-server-" + Guid.NewGuid());
        Process process;

        internal OwnServer()
        {
            Directory.CreateDirectory(data);
            foreach (string file in Directory.GetFiles(World.Data))
            {
                if (Path.GetFileName(file) != "server.lock")
                {
                    File.Copy(file, Path.Combine(data, Path.GetFileName(file)));
                }
            }
            Start();
        }

        internal ConnectOptions Options(string user, string room)
        {
            return new ConnectOptions("127.0.0.1:" + port, World.Token(user), room);
        }

        internal void Start()
        {
            string arguments = string.Format(
                "serve --session 127.0.0.1:{0} --realtime 127.0.0.1:0 --http off --data-dir {1}", port, data);
            var start = new ProcessStartInfo(World.Program, arguments)
            {
                RedirectStandardError = true,
                UseShellExecute = false,
            };
            process = Process.Start(start);
            // Reads the log, so that the server never waits for it.
            process.ErrorDataReceived += (sender, line) => { };
            process.BeginErrorReadLine();
        }

        /// <summary>Kills the server: it says no goodbye.</summary>
        internal void Kill()
        {
            if (!process.HasExited)
            {
                process.Kill();
                process.WaitForExit();
            }
        }

        /// <summary>Asks the server to end. It says so to its clients.</summary>
        internal void Stop()
        {
            using (Process kill = Process.Start("kill", process.Id.ToString()))
            {
                kill.WaitForExit();
            }
            process.WaitForExit();
        }

        public void Dispose()
        {
            Kill();
            Directory.Delete(data, true);
        }

        static int FreePort()
        {
            using (var socket = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0)))
            {
                return ((IPEndPoint)socket.Client.LocalEndPoint).Port;
            }
        }
    }
}
