using UnityEditor;

namespace Nucleus.Unity.Editor
{
    /// <summary>Frees all clients before the editor loads the scripts anew, and when play mode ends. The
    /// native library stays loaded over both. Without this, its threads and sessions would stay, too, until
    /// finalizers free them.</summary>
    [InitializeOnLoad]
    internal static class FreeClients
    {
        static FreeClients()
        {
            AssemblyReloadEvents.beforeAssemblyReload += Free;
            EditorApplication.quitting += Free;
            EditorApplication.playModeStateChanged += change =>
            {
                if (change == PlayModeStateChange.EnteredEditMode)
                {
                    Free();
                }
            };
        }

        static void Free()
        {
            NucleusRuntime.Shutdown();
            // Clients that the application has made itself.
            NucleusClient.DisposeAll();
        }
    }
}
