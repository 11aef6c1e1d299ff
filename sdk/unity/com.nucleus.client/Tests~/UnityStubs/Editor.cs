using System;

namespace UnityEditor
{
    [AttributeUsage(AttributeTargets.Class)]
    public sealed class InitializeOnLoadAttribute : Attribute
    {
    }

    public static class AssemblyReloadEvents
    {
        public static event Action beforeAssemblyReload;

        /// <summary>What the editor does before it loads the scripts anew.</summary>
        public static void Reload()
        {
            beforeAssemblyReload?.Invoke();
        }
    }

    public enum PlayModeStateChange
    {
        EnteredEditMode,
        ExitingEditMode,
        EnteredPlayMode,
        ExitingPlayMode,
    }

    public static class EditorApplication
    {
        public static event Action quitting;
        public static event Action<PlayModeStateChange> playModeStateChanged;

        /// <summary>What the editor does when it quits.</summary>
        public static void Quit()
        {
            quitting?.Invoke();
        }

        /// <summary>What the editor does when play mode begins or ends.</summary>
        public static void Change(PlayModeStateChange change)
        {
            playModeStateChanged?.Invoke(change);
        }
    }
}
